"""Below a second: ranks are threads here."""

import os

import pytest

from model.disks import Disk, find_disk, shared_disk
from model.training_errors import TrainingFailedError
from tests.model.thread_ranks import Meeting, together


def found(directories):
    """The disk of each rank, of which each is given its directory."""
    meeting = Meeting(len(directories))
    ranks = list(enumerate(directories))
    return together(ranks, lambda one: find_disk(one[1], one[0], len(ranks), meeting.exchange_of(one[0])))


def test_ranks_with_one_directory_share_a_disk(tmp_path):
    assert found([tmp_path / "work"] * 3) == [shared_disk(rank, 3) for rank in range(3)]
    assert list((tmp_path / "work").iterdir()) == []


def test_neighbours_find_each_other(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    assert found([one, one, other, other]) == [
        Disk(0, (0, 1), is_shared=False),
        Disk(1, (0, 1), is_shared=False),
        Disk(2, (2, 3), is_shared=False),
        Disk(3, (2, 3), is_shared=False),
    ]


def test_one_rank_that_sees_another_disk_is_enough_for_all_to_know(tmp_path):
    disks = found([tmp_path / "one", tmp_path / "one", tmp_path / "other"])
    assert [disk.is_shared for disk in disks] == [False] * 3


def test_one_leads_and_files_are_shared_out_without_a_rest():
    disks = [Disk(rank, (2, 3, 7), is_shared=False) for rank in (2, 3, 7)]
    assert [disk.leads for disk in disks] == [True, False, False]
    assert [list(disk.share("abcdefg")) for disk in disks] == [["a", "d", "g"], ["b", "e"], ["c", "f"]]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_disk_that_takes_nothing_is_told_by_all(tmp_path):
    (tmp_path / "full").mkdir(mode=0o500)
    _assert_refused(found([tmp_path / "work", tmp_path / "full"]))


def test_a_place_that_is_no_directory_is_told_by_all(tmp_path):
    (tmp_path / "file").touch()
    _assert_refused(found([tmp_path / "work", tmp_path / "file"]))


def _assert_refused(said):
    assert {type(one) for one in said} == {TrainingFailedError}
    assert len({str(one) for one in said}) == 1
