"""Pre-tokenizers by name: patterns that cut a text into words. Tokens never reach from one word into the next.

Each character of a text is in exactly one word, so nothing is lost.
"""

from typing import Literal

Name = Literal["gpt2", "gpt4", "llama3"]
Digits = Literal["threes", "single"]

# Source: GPT-2 (Radford et al. 2019), src/encoder.py; written as in the tokenizers library.
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Words with the space before them, contractions, at most three digits, punctuation with the line ends after it.
# Source: cl100k_base in OpenAI's tiktoken_ext/openai_public.py, less its possessive quantifiers, as in the
# tokenizer.json of Llama 3. So written, GPT-4's and Llama 3's cut every text at the same places.
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Each digit alone. Source: the tokenizer.json of Qwen2.
GPT4_SINGLE_DIGITS = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")

PATTERNS = (GPT2, GPT4, GPT4_SINGLE_DIGITS)


def pattern(name: Name, digits: Digits = "threes") -> str:
    """Return the pattern of a pre-tokenizer. GPT-2's keeps all digits of a number together, whatever `digits` says."""
    if name == "gpt2":
        return GPT2
    return GPT4_SINGLE_DIGITS if digits == "single" else GPT4
