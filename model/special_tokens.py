"""The special tokens of the two StarCoder families, in the order of their ids.

They come first in a vocabulary, so their ids are constants that no tokenizer file can move. The first five are the
same in both families: what trains and samples a model needs no more. Any other id is asked of the tokenizer by name
(`model/text_codec.py`), because `<filename>` of the one stands where `<repo_name>` of the other does.
"""

from collections.abc import Mapping
from types import MappingProxyType

STARCODER: tuple[str, ...] = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<empty_output>",
    "<commit_before>",
    "<commit_msg>",
    "<commit_after>",
    "<reponame>",
)
"""StarCoder v1 (bigcode-project/bigcode-tokenizer, `starcoder/train_bpe_tokenizer.py`)."""

STARCODER2: tuple[str, ...] = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<repo_name>",
    "<file_sep>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<jupyter_script>",
    "<empty_output>",
    "<code_to_intermediate>",
    "<intermediate_to_code>",
    "<pr>",
    "<pr_status>",
    "<pr_is_merged>",
    "<pr_base>",
    "<pr_file>",
    "<pr_base_code>",
    "<pr_diff>",
    "<pr_diff_hunk>",
    "<pr_comment>",
    "<pr_event_id>",
    "<pr_review>",
    "<pr_review_state>",
    "<pr_review_comment>",
    "<pr_in_reply_to_review_id>",
    "<pr_in_reply_to_comment_id>",
    "<pr_diff_hunk_comment_line>",
    "<NAME>",
    "<EMAIL>",
    "<KEY>",
    "<PASSWORD>",
)
"""StarCoder2 (arXiv 2402.19173, table 5), and the four of redaction that its published tokenizer adds after them."""

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"starcoder": STARCODER, "starcoder2": STARCODER2})

END_OF_TEXT = 0
"""Ends every document; also begin-of-text and unknown, as in StarCoder."""
FIM_PREFIX = 1
FIM_MIDDLE = 2
FIM_SUFFIX = 3
FIM_PAD = 4
"""Fills a window that fill-in-the-middle made shorter; never a target."""

IGNORED_TARGET = -100
"""No token: stands where a token has no next one to be learned."""


def names_of(tokens: tuple[str, ...]) -> dict[str, int]:
    """The id of each token by its bare name: `<file_sep>` is `file_sep`, `<|endoftext|>` is `endoftext`."""
    return {token.strip("<|>"): number for number, token in enumerate(tokens)}
