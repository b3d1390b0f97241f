"""The data docs of one artifact: a single HTML file that opens from disk.

Great Expectations' own site loads scripts, styles and pictures from eight hosts and repeats values of hostile
files in it. This page takes its tables only, brings its own style, and forbids the browser to run or to fetch
anything.
"""

from collections.abc import Mapping
from html import escape

from data_contracts.contract import Contract
from data_contracts.report import ContractReport, ExpectationResult

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 small { font-weight: normal; color: #666 }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
th, td { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th { background: #f4f4f4 }
.verdict { padding: .5rem 1rem; border-radius: .3rem; color: #fff }
.passed { background: #2e7d32 } .warned { background: #b26a00 } .blocked { background: #b3261e }
.ok { color: #2e7d32 } .warn { color: #b26a00; font-weight: bold } .block { color: #b3261e; font-weight: bold }
.why { color: #666 }
summary { cursor: pointer; font-weight: bold; margin: .6rem 0 }
.fa-check-circle::before { content: "holds"; color: #2e7d32 }
.fa-times::before { content: "fails"; color: #b3261e }
.fa-exclamation-triangle::before { content: "warns"; color: #b26a00 }
.badge { background: #eee; border-radius: .2rem; padding: 0 .3rem }
"""

_HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style>
"""


def page_of(contract: Contract, report: ContractReport, details: Mapping[str, str]) -> str:
    """The page; `details` holds the tables of Great Expectations per view, as HTML that is already escaped."""
    name = escape(report.artifact)
    parts = [
        _HEAD,
        f"<title>Contract of {name}: {report.verdict}</title>\n</head>\n<body>",
        f"<h1>{name} <small>{escape(contract.promise)}</small></h1>",
        f'<p class="verdict {report.verdict}">{escape(report.sentence())}</p>',
    ]
    for size in report.views:
        parts.append(f"<h2>{escape(size.view)} <small>{_size(size.rows, size.rows_total)}</small></h2>")
        parts.append(_table([result for result in report.results if result.view == size.view]))
        parts.append(f"<details><summary>Great Expectations on {escape(size.view)}</summary>{details[size.view]}")
        parts.append("</details>")
    parts += [f"<p>Not checked for want of the upstream artifact: {escape(view)}.</p>" for view in report.unchecked]
    parts.append(f"<p>Contract {report.contract_digest}</p>\n</body>\n</html>\n")
    return "\n".join(parts)


def _size(rows: int, rows_total: int) -> str:
    return f"{rows:,} rows" if rows == rows_total else f"a sample of {rows:,} of {rows_total:,} rows"


def _table(results: list[ExpectationResult]) -> str:
    rows = "\n".join(_row(result) for result in results)
    return f"<table>\n<tr><th>Expectation</th><th>Severity</th><th>Outcome</th></tr>\n{rows}\n</table>"


def _row(result: ExpectationResult) -> str:
    severity = result.severity.value
    mark = '<span class="ok">holds</span>' if result.success else f'<span class="{severity}">broken</span>'
    examples = "".join(f"<br>{escape(row.text)}" for row in result.examples)
    return (
        f'<tr><td>{escape(result.text)}<br><span class="why">{escape(result.why)}</span></td>'
        f"<td>{severity}</td><td>{mark}: {escape(result.observed)}{examples}</td></tr>"
    )
