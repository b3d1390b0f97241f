"""The model that a training begins with: a Hugging Face directory in the workspace, found, digested and compared."""

from pathlib import Path

from tokenizers import Tokenizer

from components.errors import ParamsError, SourceError
from components.fingerprint import digest_of
from components.store import digest_file, holds_model
from model.config import ModelConfig, PretrainConfig, require_same_network
from model.huggingface_config import CONFIG_FILE, BundleError, read_bundle_config
from model.text_codec import TOKENIZER_FILE
from model.train_request import StartFrom
from model.training_errors import LayoutError


def find_start(config: PretrainConfig, workspace: Path) -> StartFrom | None:
    """Where the weights lie and what they are: all files of the directory count that hold tensors or JSON.

    SourceError if there is no model.
    """
    if config.start_from is None:
        return None
    bundle = _existing(config.start_from, workspace)
    files = (path for path in bundle.iterdir() if holds_model(path.name))
    try:
        digest = digest_of({path.name: digest_file(path).sha256 for path in files})
    except OSError as error:
        raise SourceError(f"pretrain.start_from: {error.filename} cannot be read ({error.strerror})") from None
    return StartFrom(bundle=bundle, digest=digest)


def require_fitting_start(config: PretrainConfig, model: ModelConfig, vocab_size: int, workspace: Path) -> None:
    """SourceError if there is no model to begin with, ParamsError if it is another network; weights are not read."""
    if config.start_from is None:
        return
    bundle = _existing(config.start_from, workspace)
    try:
        require_same_network(model, vocab_size, *read_bundle_config(bundle))
    except BundleError as error:
        raise SourceError(f"pretrain.start_from: {error}") from None
    except LayoutError as error:
        raise ParamsError(str(error)) from None


def require_same_tokenizer(start: StartFrom, tokenizer: Path) -> None:
    """ParamsError unless both directories have the same tokenizer: the weights would read other tokens than theirs."""
    theirs, ours = start.bundle / TOKENIZER_FILE, tokenizer / TOKENIZER_FILE
    if not theirs.is_file():
        raise SourceError(
            f"pretrain.start_from: {theirs} is missing; put the tokenizer there that the model was trained with"
        )
    if Tokenizer.from_file(str(theirs)).to_str() != Tokenizer.from_file(str(ours)).to_str():
        raise ParamsError(
            f"pretrain.start_from: the tokens of {ours} are not those of {theirs}; set train_tokenizer.take_from "
            "to the same directory"
        )


def _existing(start_from: str, workspace: Path) -> Path:
    bundle = workspace / start_from
    if not (bundle / CONFIG_FILE).is_file():
        raise SourceError(
            f"pretrain.start_from: {bundle} holds no {CONFIG_FILE}; put a model in Hugging Face's format there, or say "
            "null to begin anew"
        )
    return bundle
