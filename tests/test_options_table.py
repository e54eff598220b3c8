"""README's table of options is that of `s3ext._options`.

`python -m tests.test_options_table` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from s3ext._options import CLIENT, OPTIONS, RETRY, S3

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- options: written by `python -m tests.test_options_table` -->"
END = "<!-- end of options -->"
HEADS = {
    S3: "**`config=` and keywords**",
    CLIENT: "**`client_options=` and keywords**",
    RETRY: "**`retry_config=`**, the last three in its `backoff`",
}


def expected_variables(option):
    """Return the variables that follow from the spellings."""
    return tuple(key.upper() for key in option.aliases if key.startswith("aws_"))


def names(option):
    """Write the name, and the other spellings but for those that begin with aws_."""
    others = [key for key in option.aliases[1:] if not key.startswith("aws_")]
    return ", ".join(f"`{key}`" for key in (option.name, *others))


def variables(option):
    """Write the variables, unless they are the spellings in upper case."""
    if option.section == RETRY or set(option.environment) == set(expected_variables(option)) != set():
        return ""
    return ", ".join(f"`{name}`" for name in option.environment) or "none"


def cells(option):
    default = "" if option.default is None else f"`{option.default}`"
    theirs = "Not there." if option.ours else option.differs
    return names(option), option.kind.accepted, default, variables(option), option.doc, theirs


def row(texts):
    escaped = (text.replace("|", r"\|") for text in texts)
    return " ".join(f"| {' | '.join(escaped)} |".split())


def table():
    """Write the table, one row for each option."""
    lines = [row(["option", "type", "default", "variables", "what it does", "obstore"]), "|---" * 6 + "|"]
    for section, head in HEADS.items():
        lines.append(row([head, "", "", "", "", ""]))
        lines.extend(row(cells(option)) for option in OPTIONS if option.section == section)
    return "\n".join(lines)


def parts(text):
    """Take README apart: what is before the table, the table, what is behind it."""
    before, mark, rest = text.partition(f"{BEGIN}\n\n")
    found, end, after = rest.partition(f"\n\n{END}")
    assert mark
    assert end
    return before + mark, found, end + after


def test_the_table_of_readme_is_that_of_the_options():
    _, found, _ = parts(README.read_text(encoding="utf-8"))
    assert found == table(), "README's table of options is old; run: python -m tests.test_options_table"


def test_every_option_has_a_row():
    rows = [line.split("|")[1].strip() for line in table().splitlines()[2:]]
    assert [row for row in rows if not row.startswith("**")] == [names(option) for option in OPTIONS]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_row_can_be_read_in_one_line(option):
    assert len(cells(option)) == 6
    assert len(option.doc) < 160
    assert len(option.differs) < 80
    assert not option.differs or (option.differs.endswith(".") and not option.ours)
    assert option.doc[0].isupper()


def test_the_lead_above_the_table_says_what_the_column_of_variables_leaves_out():
    """Where the column is empty, the variables are AWS_ and a spelling of the option."""
    empty = [option for option in OPTIONS if not variables(option) and option.section != RETRY]
    assert len(empty) > 40
    for option in empty:
        assert f"AWS_{option.name.upper()}" in option.environment
        assert all(name.startswith("AWS_") for name in option.environment)


if __name__ == "__main__":
    before, _, after = parts(README.read_text(encoding="utf-8"))
    README.write_text(before + table() + after, encoding="utf-8")
