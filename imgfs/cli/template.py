"""Go templates, as `--format` of docker and podman takes them: the part of the language that formats need.

Actions are `{{.Field}}`, `{{.A.B}}`, `{{$}}`, functions with arguments, pipelines and parentheses, `range`, `if`,
`with`, `else` and `end`; `{{-` and `-}}` trim space. There are no variables but `$`, and no definitions.
Format: Go, text/template; Docker, "Format command and log output".
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import click
import msgspec

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r"""\s*("(?:\\.|[^"\\])*"|`[^`]*`|\$?(?:\.\w+)+|\$|[|().]|-?\d+|\w+)""")
_DEEPEST = 50  # actions inside each other
_MISSING = "<no value>"

Value = object
Data = Mapping[str, Value]


class TemplateError(click.UsageError):
    """A template that does not parse, or that asks for what is not there."""

    def __init__(self, why: str) -> None:
        super().__init__(f"--format: {why}")


class Template:
    """A parsed template. Raises TemplateError."""

    def __init__(self, text: str) -> None:
        parser = _Parser(text.replace(r"\t", "\t").replace(r"\n", "\n"))
        self._body, _ = parser.block(0)

    def render(self, data: Data) -> str:
        """The text with the values of `data`. Raises TemplateError for a field that is not in it."""
        return _render(self._body, data, data)


@dataclass(frozen=True, slots=True)
class _Call:
    """Words of a command, the first of which may name a function: literals, fields as lists of names, pipelines."""

    words: Sequence["_Word"]


@dataclass(frozen=True, slots=True)
class _Word:
    """An operand: the value `literal`, the path `fields` of the root or of the current value, a pipeline or a name."""

    literal: Value = None
    fields: Sequence[str] | None = None
    of_root: bool = False
    pipeline: Sequence[_Call] = ()
    name: str = ""


@dataclass(slots=True)
class _Node:
    """Text, or an action: `kind` is `print`, `range`, `if` or `with`."""

    text: str = ""
    kind: str = ""
    pipeline: Sequence[_Call] = ()
    body: list["_Node"] = field(default_factory=list)
    otherwise: list["_Node"] = field(default_factory=list)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._trim = False

    def block(self, depth: int) -> tuple[list[_Node], str]:
        """The nodes up to the action that ends the block, and that action: `end`, `else`, or nothing at the end."""
        if depth > _DEEPEST:
            raise TemplateError("nested too deeply")
        nodes: list[_Node] = []
        while match := _ACTION.search(self._text, self._at):
            nodes.append(_Node(self._before(match.start(), trim_end=bool(match[1]))))
            self._at, self._trim = match.end(), bool(match[3])
            keyword, _, rest = match[2].partition(" ")
            if keyword in ("end", "else"):
                if not depth or (rest and not rest.startswith("if ")):
                    raise TemplateError(f"unexpected {{{{{match[2]}}}}}")
                return nodes, match[2]
            if keyword in ("range", "if", "with"):
                nodes.append(self._control(keyword, rest, depth))
            elif not match[2].startswith("/*"):
                nodes.append(_Node(kind="print", pipeline=_pipeline(match[2])))
        if depth:
            raise TemplateError("{{end}} is missing")
        nodes.append(_Node(self._before(len(self._text), trim_end=False)))
        if "{{" in nodes[-1].text:
            raise TemplateError("an action is not closed: }} is missing")
        return nodes, ""

    def _control(self, keyword: str, rest: str, depth: int) -> _Node:
        node = _Node(kind=keyword, pipeline=_pipeline(rest))
        node.body, end = self.block(depth + 1)
        if end.startswith("else if "):
            node.otherwise = [self._control("if", end.removeprefix("else if "), depth + 1)]
        elif end == "else":
            node.otherwise, end = self.block(depth + 1)
            if end != "end":
                raise TemplateError(f"unexpected {{{{{end}}}}}")
        return node

    def _before(self, end: int, *, trim_end: bool) -> str:
        text = self._text[self._at : end]
        text = text.lstrip() if self._trim else text
        return text.rstrip() if trim_end else text


def _pipeline(text: str) -> Sequence[_Call]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"{text!r} is not understood")
        tokens.append(match[1])
        at = match.end()
    tokens.reverse()
    calls = _calls(tokens, text, 0)
    if tokens:
        raise TemplateError(f"{text!r}: unexpected {tokens[-1]}")
    return calls


def _calls(tokens: list[str], text: str, depth: int) -> Sequence[_Call]:
    """The commands of a pipeline, up to its end or the parenthesis that closes it; takes the tokens, the next last."""
    if depth > _DEEPEST:
        raise TemplateError("nested too deeply")
    calls: list[_Call] = []
    words: list[_Word] = []
    while True:
        token = tokens.pop() if tokens and tokens[-1] != ")" else ""
        if token in ("", "|"):
            if not words:
                raise TemplateError(f"{text!r}: a value is missing")
            calls.append(_Call(words))
            words = []
            if not token:
                return calls
        elif token[0] == "(":
            words.append(_Word(pipeline=_calls(tokens, text, depth + 1)))
            if not tokens:
                raise TemplateError(f"{text!r}: ) is missing")
            tokens.pop()
        else:
            words.append(_word(token))


def _word(token: str) -> _Word:
    if token[0] in '"`':
        try:
            return _Word(literal=json.loads(token, strict=False) if token[0] == '"' else token[1:-1])
        except ValueError:
            raise TemplateError(f"{token} is no string") from None
    if token[0] in ".$":
        path = token.removeprefix("$")
        return _Word(fields=path.split(".")[1:] if path.strip(".") else [], of_root=token[0] == "$")
    if token.lstrip("-").isdigit():
        return _Word(literal=int(token))
    if token in ("true", "false", "nil"):
        return _Word(literal={"true": True, "false": False}.get(token))
    if token not in FUNCTIONS:
        raise TemplateError(f"no function {token!r} (functions are {', '.join(sorted(FUNCTIONS))})")
    return _Word(name=token)


def _render(nodes: Sequence[_Node], data: Value, root: Data) -> str:
    pieces: list[str] = []
    for node in nodes:
        if not node.kind:
            pieces.append(node.text)
            continue
        value = _evaluate(node.pipeline, data, root)
        if node.kind == "print":
            pieces.append(_printed(value))
        elif node.kind == "range":
            items = list(value.values()) if isinstance(value, Mapping) else value
            items = items if isinstance(items, (list, tuple)) else []
            pieces += [_render(node.body, item, root) for item in items]
            pieces += [] if items else [_render(node.otherwise, data, root)]
        else:
            inside = value if node.kind == "with" else data
            pieces.append(_render(node.body, inside, root) if value else _render(node.otherwise, data, root))
    return "".join(pieces)


def _evaluate(pipeline: Sequence[_Call], data: Value, root: Data) -> Value:
    """The value of the last command; that of each goes to the next one as its last argument."""
    result: list[Value] = []
    for call in pipeline:
        first, *rest = call.words
        arguments = [_operand(word, data, root) for word in rest] + result
        if first.name:
            result = [_called(first.name, arguments)]
        elif arguments:
            raise TemplateError("a value is no function: it takes no arguments")
        else:
            result = [_operand(first, data, root)]
    return result[0]


def _operand(word: _Word, data: Value, root: Data) -> Value:
    if word.pipeline:
        return _evaluate(word.pipeline, data, root)
    if word.name:
        return _called(word.name, [])
    if word.fields is None:
        return word.literal
    value = root if word.of_root else data
    for number, name in enumerate(word.fields):
        if value is root and name not in root:
            raise TemplateError(f"no field .{name} (fields are {', '.join(f'.{key}' for key in root)})")
        if value is not None and not isinstance(value, Mapping):
            raise TemplateError(f".{'.'.join(word.fields[:number])} has no field .{name}")
        value = None if value is None else value.get(name)
    return value


def _called(name: str, arguments: Sequence[Value]) -> Value:
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise TemplateError(f"{name}: {error}") from None


def _printed(value: Value) -> str:
    """A value as Go prints it."""
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{_printed(of)}' for key, of in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(_printed, value))}]"
    return str(value)


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, (list, tuple)) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError(f"nothing at {key}")
    return value


def _list(value: Value) -> Sequence[Value]:
    if not isinstance(value, (list, tuple, type(None))):
        raise TypeError(f"{_printed(value)!r} is no list")
    return value or []


def _len(value: Value) -> int:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise TypeError(f"{_printed(value)} has no length")
    return len(value)


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "eq": lambda first, *others: first in others,
    "index": _index,
    "join": lambda values, between: between.join(map(_printed, _list(values))),
    "json": lambda value: msgspec.json.encode(value, enc_hook=str).decode(),
    "len": _len,
    "lower": lambda text: _printed(text).lower(),
    "ne": lambda first, second: first != second,
    "not": lambda value: not value,
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "print": lambda *values: "".join(map(_printed, values)),
    "println": lambda *values: " ".join(map(_printed, values)) + "\n",
    "split": lambda text, at: text.split(at),
    "title": lambda text: _printed(text)[:1].upper() + _printed(text)[1:],
    "truncate": lambda text, length: _printed(text)[:length],
    "upper": lambda text: _printed(text).upper(),
}
