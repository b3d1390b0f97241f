"""Complete: the champion goes on from where a text ends."""

from tokenizers import Tokenizer

from components.config import PipelineConfig
from components.errors import CorruptArtifactError, ParamsError, RegistryError
from components.registry.model_registry import ModelRegistry, RegisteredVersion
from components.registry.promote_model import fetch_bundle
from components.settings import Settings
from components.tokens.tokenizer_files import encode_text
from model.generate import GenerationError, generate
from model.huggingface_format import BundleError, load_bundle
from model.special_tokens import END_OF_TEXT
from model.text_codec import TOKENIZER_FILE


def complete_text(
    text: str,
    config: PipelineConfig,
    settings: Settings,
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> tuple[str, RegisteredVersion]:
    """The continuation and the version it came from.

    RegistryError while there is no champion, ParamsError for a length that the context does not hold.
    """
    registry = ModelRegistry(config.register_model.model_name, settings)
    champion = registry.champion()
    if champion is None:
        raise RegistryError(
            f"model {config.register_model.model_name} has no champion yet; `starloom run` registers and promotes one"
        )
    bundle = fetch_bundle(champion, registry, settings)
    # Unlike data, a prompt may spell special tokens out: `<fim_prefix>` asks for a filling.
    tokenizer: Tokenizer = Tokenizer.from_file(str(bundle / TOKENIZER_FILE))
    try:
        new = generate(
            load_bundle(bundle),
            [END_OF_TEXT, *encode_text(tokenizer, text)],
            max_new_tokens,
            temperature=temperature,
            seed=seed,
            stop_ids=frozenset({END_OF_TEXT}),
        )
    except GenerationError as error:
        raise ParamsError(str(error)) from error
    except BundleError as error:
        raise CorruptArtifactError(str(error)) from error
    return tokenizer.decode(new, skip_special_tokens=True), champion
