# ruff: noqa: RUF001 - other scripts are what this is about
"""Languages are told from prose; what is code or too short says nothing."""

import pytest

from components.issues.english import MAX_PROSE_CHARS, language_of_prose, prose_of

TEXTS = {
    "en": "When I start the program with an empty file it stops without any message. I expected to be told the reason.",
    "de": "Wenn ich es mit einer leeren Datei starte, beendet es sich ohne Meldung. Woran kann das liegen?",
    "fr": "Quand je lance le programme avec un fichier vide, il s'arrête sans message. Je voudrais savoir pourquoi.",
    "pt": "Quando inicio o programa com um arquivo vazio ele termina sem nenhuma mensagem. Gostaria de saber o motivo.",
    "ru": "Когда я запускаю программу с пустым файлом, она завершается без сообщения. Хотелось бы знать почему.",
    "zh": "当我用一个空文件启动程序的时候，程序没有显示任何信息就退出了，请问这是什么原因造成的？",
    "ja": "空のファイルでプログラムを起動すると、何のメッセージも表示されずに終了してしまいます。",
    "ko": "빈 파일로 프로그램을 시작하면 아무런 메시지 없이 종료됩니다. 무엇이 잘못되었는지 알려 주세요.",
}


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_language_is_told_from_two_sentences(language):
    told, probability = language_of_prose(prose_of(TEXTS[language]))
    assert told == language
    assert (probability > 0.5) is (language == "en")


@pytest.mark.parametrize(
    "text",
    [
        "```python\nfor line in open(path):\n    print(line)\n```",
        "```\nnever closed for line in file\n",
        "~~~\nprint line\n~~~",
        "`print` and ``a ` b``",
        "    indented code is code",
        "\tso is this",
        "$ make install now",
        "https://example.org/some/words/in/it",
        "<!-- Thank you for\nfilling this in -->",
        '<img src="a b c">',
        "snake_case camelCase src/main.c v1.2.3 0x7f3a a=b foo()",
    ],
)
def test_code_is_no_prose(text):
    assert prose_of(text) in ("", "and")


def test_words_stay_in_their_order_and_lose_their_marks():
    text = 'Well, it **does** work ("often"): don\'t call `f`, though - `g` is well-known.'
    assert prose_of(text) == "Well it does work often don't call though is well-known"


def test_other_scripts_need_no_blanks():
    assert prose_of("请问，python3怎么用？") == "请问 python 怎么用"


def test_the_language_of_a_log_does_not_outweigh_what_people_write():
    log = "\n".join(f"error at line {number}: file not found, giving up" for number in range(50))
    assert language_of_prose(prose_of(f"{TEXTS['de']}\n```\n{log}\n```"))[0] == "de"


def test_a_long_text_is_judged_by_its_beginning():
    prose = prose_of("word " * 100_000)
    assert MAX_PROSE_CHARS - 5 <= len(prose) <= MAX_PROSE_CHARS
