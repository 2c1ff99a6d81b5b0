"""Go templates: what docker and podman print for them."""

import pytest

from imgfs.cli.template import Template, TemplateError

DATA = {
    "Id": "sha256:1",
    "Names": ["a:1", "b:2"],
    "None": [],
    "Size": 12,
    "Parent": "",
    "Config": {"Cmd": ["sh", "-c"], "Labels": {"z": "1", "a.b": "two"}, "Tty": False, "User": None},
}


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{.Id}}", "sha256:1"),
        ("{{ .Id }}\\t{{.Size}}\\n", "sha256:1\t12\n"),
        ("{{json .Names}}", '["a:1","b:2"]'),
        ("{{json .Config.Labels}}", '{"z":"1","a.b":"two"}'),
        ("{{.Names}} {{.Config.Tty}} {{.Config.Labels}}", "[a:1 b:2] false map[a.b:two z:1]"),
        ("{{.Config.User}} {{.Config.Nothing}} {{.Config.User.Name}}", "<no value> <no value> <no value>"),
        ('{{index .Names 1}} {{index .Config.Labels "a.b"}}', "b:2 two"),
        ('{{join .Names ", "}} {{.Id | upper | json}}', 'a:1, b:2 "SHA256:1"'),
        ('{{len .Names}} {{len (index .Names 0)}} {{index (split .Id ":") 1}}', "2 3 1"),
        ("{{range .Names}}<{{.}} of {{$.Id}}>{{end}}", "<a:1 of sha256:1><b:2 of sha256:1>"),
        ("{{range .Config.Labels}}{{println .}}{{end}}", "1\ntwo\n"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{if .Parent}}a{{else if .Names}}b{{else}}c{{end}}", "b"),
        ("{{if not .Parent}}{{with .Config}}{{.Cmd}}{{end}}{{end}}", "[sh -c]"),
        ('{{if eq .Size 12}}{{print "a" .Size}}{{end}}{{if and .Id (ne .Id "x")}}b{{end}}', "a12b"),
        ("a {{- .Size -}} b{{/* nothing */}}", "a12b"),
        ("{{truncate .Id 6}} {{title `word`}} {{or .Parent .Size}} {{lower `A`}}", "sha256 Word 12 a"),
        ("no action", "no action"),
    ],
)
def test_templates_print_what_go_prints(text: str, printed: str) -> None:
    assert Template(text).render(DATA) == printed


def test_dot_is_all_of_it() -> None:
    assert Template("{{json .}}").render({"a": 1, "b": [None]}) == '{"a":1,"b":[null]}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Nothing}}", "no field .Nothing (fields are .Id, "),
        ("{{.Id.Nothing}}", ".Id has no field .Nothing"),
        ("{{nothing .Id}}", "no function 'nothing'"),
        ("{{.Id", "not closed"),
        ("{{range .Names}}", "{{end}} is missing"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "unexpected {{else}}"),
        ("{{index .Names 5}}", "nothing at 5"),
        ("{{join .Id}}", "join: "),
        ("{{(.Id}}", ") is missing"),
        ("{{.Id)}}", "unexpected )"),
        ("{{}}", "a value is missing"),
        ("{{.Id 5}}", "takes no arguments"),
        ("{{&}}", "not understood"),
        ("{{" + "(" * 1000 + "}}", "nested too deeply"),
        ("{{if .Id}}" * 1000, "nested too deeply"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_says_why(text: str, why: str) -> None:
    with pytest.raises(TemplateError) as raised:
        Template(text).render(DATA)
    assert why in raised.value.message
