#!/bin/sh
# prepare-workspace.sh APP WORKSPACE: on an empty disk, a workspace as the image has it. What is there is left alone: the
# parameters of a workspace are its owner's.
set -eu
app=$1
workspace=$2
test ! -e "$workspace/params.yaml" || exit 0
cd "$app"
cp -R params samples params.yaml dvc.yaml prefect.yaml opt_outs.yaml requirements.lock .dvc .dvcignore .gitignore "$workspace/"
cd "$workspace"
git init --quiet --initial-branch=main
git add --all
git -c user.name=starloom -c user.email=starloom@localhost commit --quiet --message "The workspace as the image has it"
