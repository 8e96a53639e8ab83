"""What a name in the sources stands for, written out, found by reading: imports, annotations, what is set to what.

Enough to follow a call from one file into another. It knows nothing of what only running would show.
"""

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

Definition = ast.FunctionDef | ast.ClassDef


class Module:
    """One file of the sources: its functions and classes, and what its other names are set to or imported from."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.definitions: dict[str, Definition] = {}
        self.values: dict[str, ast.expr] = {}
        self.imports: dict[str, str] = {}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement in tree.body:
            if isinstance(statement, Definition):
                self.definitions[statement.name] = statement
            if isinstance(statement, ast.ClassDef):
                methods = [part for part in statement.body if isinstance(part, ast.FunctionDef)]
                self.definitions |= {f"{statement.name}.{method.name}": method for method in methods}
            if isinstance(statement, ast.Assign):
                self.values |= dict(settings(statement))
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=source, names=names):
                    self.imports |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in names}
                case ast.Import(names=names):
                    for alias in names:
                        first = alias.name.partition(".")[0]
                        self.imports[alias.asname or first] = alias.name if alias.asname else first


class Sources:
    """Every module under a folder."""

    def __init__(self, folder: Path) -> None:
        names = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in folder.rglob("*.py")}
        self.modules = {name: Module(name, path) for name, path in sorted(names.items())}

    def find(self, meaning: str) -> tuple[Module, str, Definition] | None:
        """The function or class of a name written out, wherever it was imported from; None: not one of these."""
        parts = meaning.split(".")
        for length in range(len(parts) - 1, 0, -1):
            module, (first, *rest) = self.modules.get(".".join(parts[:length])), parts[length:]
            if module is None:
                continue
            name = ".".join([first, *rest])
            if name in module.definitions:
                return module, name, module.definitions[name]
            if first in module.imports:
                return self.find(".".join([module.imports[first], *rest]))
            if rest:
                return self._inherited(module, first, ".".join(rest))
        return None

    def _inherited(self, module: Module, name: str, method: str) -> tuple[Module, str, Definition] | None:
        """A method that a class has from the classes it names as its bases."""
        match module.definitions.get(name):
            case ast.ClassDef(bases=bases):
                meanings = (Scope(self, module).meaning(base) for base in bases)
                found = (self.find(f"{base}.{method}") for base in meanings if base)
                return next((definition for definition in found if definition), None)
        return None


class Scope:
    """What names stand for at some place: its own by their annotations and what they are set to, others the module's.

    A value stands for its class: where `ledger` is a `Ledger`, `ledger.claim` is `shared.ledger.owner.Ledger.claim`.
    """

    def __init__(self, sources: Sources, module: Module) -> None:
        self._sources = sources
        self._module = module
        self._own: dict[str, str | ast.expr | None] = {}

    @classmethod
    def of(cls, sources: Sources, module: Module, name: str, function: ast.FunctionDef) -> "Scope":
        """Inside a function; a method's name begins with its class's."""
        scope = cls(sources, module)
        own: dict[str, str | ast.expr | None] = dict.fromkeys(names_of(function))
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        own |= {parameter.arg: scope.annotated(parameter.annotation) for parameter in parameters}
        if "." in name and parameters:
            own[parameters[0].arg] = f"{module.name}.{name.rpartition('.')[0]}"
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                own |= dict(settings(node))
        scope._own = own
        return scope

    def meaning(self, node: ast.expr) -> str | None:
        """What an expression stands for; None where that is not known."""
        match node:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute() if (name := ast.unparse(node)) in self._own:
                return self.own(name)
            case ast.Attribute(value=value, attr=attribute):
                owner = self.meaning(value)
                return owner and (self._field(owner, attribute) or f"{owner}.{attribute}")
            case ast.Call(func=function):
                called = self.meaning(function)
                return called and self._result(called)
        return None

    def annotated(self, node: ast.expr | None) -> str | None:
        """The class that an annotation names, be it in quotes or with `| None`; None for another annotation."""
        match node:
            case ast.Constant(value=str(text)):
                return self.annotated(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left):
                return self.annotated(left)
            case ast.Name() | ast.Attribute():
                return self.meaning(node)
        return None

    def own(self, name: str) -> str | None:
        """What one of the place's own names stands for, `self.client` too; None where that is not known."""
        value = self._own.get(name)
        if isinstance(value, ast.expr):
            self._own[name] = None  # while it is looked up: it may be set to something of its own
            value = self._own[name] = self.meaning(value)
        return value

    def _named(self, name: str) -> str | None:
        if name in self._own:
            return self.own(name)
        if name in self._module.definitions:
            return f"{self._module.name}.{name}"
        if name in self._module.values:
            return self.meaning(self._module.values[name])
        return self._module.imports.get(name) or (f"builtins.{name}" if hasattr(builtins, name) else None)

    def _result(self, called: str) -> str | None:
        """The class of what is called, or what the function is annotated with; of a function from elsewhere itself."""
        match self._sources.find(called):
            case module, _, ast.FunctionDef(returns=returns):
                return Scope(self._sources, module).annotated(returns)
        return called

    def _field(self, owner: str, field: str) -> str | None:
        """The class of an object's field, by the annotation in its class or by what the constructor sets it to."""
        match self._sources.find(owner):
            case module, name, ast.ClassDef(body=body):
                for node in body:
                    if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == field:
                        return Scope(self._sources, module).annotated(node.annotation)
                constructor = module.definitions.get(f"{name}.__init__")
                if isinstance(constructor, ast.FunctionDef):
                    return Scope.of(self._sources, module, f"{name}.__init__", constructor).own(f"self.{field}")
        return None


def settings(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    """What an assignment sets, in words (`a`, `self.b`), and to what; a tuple by its parts."""
    for target in node.targets:
        match target, node.value:
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                yield from ((ast.unparse(part), value) for part, value in zip(targets, values, strict=True))
            case _:
                yield ast.unparse(target), node.value


def names_of(code: ast.AST) -> Iterator[str]:
    """The names that a piece of code has for itself: what it sets, and its parameters."""
    for node in ast.walk(code):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
