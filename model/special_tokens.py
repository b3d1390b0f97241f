"""The 19 special tokens of StarCoder v1, at ids 0 to 18.

Source: bigcode-project/bigcode-tokenizer, `starcoder/train_bpe_tokenizer.py`. They come first in the
vocabulary, so their ids are constants that no tokenizer file can move.
"""

SPECIAL_TOKENS: tuple[str, ...] = (
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
"""In id order."""

END_OF_TEXT = 0
"""Ends every document; also begin-of-text and unknown, as in StarCoder."""
FIM_PREFIX = 1
FIM_MIDDLE = 2
FIM_SUFFIX = 3
FIM_PAD = 4
"""Fills a window that fill-in-the-middle made shorter; never a target."""
FILENAME = 5
GH_STARS = 6
ISSUE_START = 7
ISSUE_COMMENT = 8
ISSUE_CLOSED = 9
JUPYTER_START = 10
JUPYTER_TEXT = 11
JUPYTER_CODE = 12
JUPYTER_OUTPUT = 13
EMPTY_OUTPUT = 14
COMMIT_BEFORE = 15
COMMIT_MSG = 16
COMMIT_AFTER = 17
REPONAME = 18

IGNORED_TARGET = -100
"""No token: stands where a token has no next one to be learned."""
