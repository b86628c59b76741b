"""Mutants of a file: the same program with one thing changed, which a good test notices."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
}  # fmt: skip
_LEFT_OUT = {"decorator_list", "annotation", "returns", "bases"}
_SHOWN = 50  # characters of a line beside what changed


class Mutant(NamedTuple):
    """What was changed, as `function: before → after`, and the whole file with it."""

    name: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a file, in its order; names differ from each other.

    Comparisons turn or gain their bound, conditions are negated, `and` and `or` swapped, sums and products swapped,
    a `not`, a call, a `raise` or an early `return` dropped, numbers raised by one, booleans flipped.
    """
    tree = ast.parse(source)
    before, seen, made = ast.unparse(tree).splitlines(), Counter[str](), []
    for where, holder, key, new in _changes(tree, "module"):
        old = _swap(holder, key, new)
        after = ast.unparse(tree)
        _swap(holder, key, old)
        name = f"{where}: {_difference(before, after.splitlines())}"
        seen[name] += 1
        made.append(Mutant(name if seen[name] == 1 else f"{name} ({seen[name]})", after))
    return made


def _swap(holder: Any, key: Any, new: Any) -> Any:
    if isinstance(holder, list):
        old, holder[key] = holder[key], new
    else:
        old = getattr(holder, key)
        setattr(holder, key, new)
    return old


def _difference(before: list[str], after: list[str]) -> str:
    old, new = next((a.strip(), b.strip()) for a, b in zip(before, after, strict=True) if a != b)
    start = max(0, _common(old, new) - _SHOWN)
    same = _common(old[::-1], new[::-1])
    return " → ".join(text[start : max(start, len(text) - same) + _SHOWN] for text in (old, new))


def _common(one: str, other: str) -> int:
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)


def _changes(node: ast.AST, where: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """For each change where it is, what holds the old value, under which name or index, and the new value."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        return
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for field, value in ast.iter_fields(node):
        if field in _LEFT_OUT:
            continue
        inside = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else where
        listed = isinstance(value, list)
        for index, child in enumerate(value if listed else [value]):
            holder, key = (value, index) if listed else (node, field)
            condition = field in ("test", "ifs")
            new = _replacement(child, node, condition=condition, last=function and field == "body")
            if new is not None:
                yield inside, holder, key, new
            if isinstance(child, ast.AST):
                yield from _changes(child, inside)


def _replacement(child: Any, parent: ast.AST, *, condition: bool, last: bool) -> Any:
    match child:
        case ast.UnaryOp(op=ast.Not()):
            return child.operand
        case ast.Compare(ops=[op]) if condition and not isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            return None  # its operator is turned below
        case ast.expr() if condition:
            return ast.UnaryOp(ast.Not(), child)
        case ast.Constant(value=bool()):
            return ast.Constant(not child.value)
        case ast.Constant(value=int() | float() as number):
            return ast.Constant(number + 1)
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            return ast.Pass()
        case ast.Return() if not last:
            return ast.Pass()
        case ast.operator() if isinstance(parent, ast.BinOp) and _is_text(parent):
            return None
        case ast.cmpop() | ast.boolop() | ast.operator() if type(child) in _SWAPS:
            return _SWAPS[type(child)]()
    return None


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in (node.left, node.right)
    )
