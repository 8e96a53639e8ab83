"""Refuses what comes out otherwise when it is replayed: `python -m tools.determinism_check`.

A function with a `DurableContext` runs again from the top whenever its execution is resumed, and with it all that it
calls outside a step. Clock, chance, environment and I/O have no place there, and nobody says so when they get in: the
tests stay green, and an order goes wrong on the day it is resumed. AWS's own lint for this, flake8-durable-execution,
is in no package index, and what is there follows no call into another file, which is where the steps are here.

    clock, chance, environment, io   used in what is replayed
    nested                           an operation inside a step, where it has no place among the operations
    captured                         a step that changes what is outside it: a replay has its result, not the change
    name                             an operation without a name of its own, written out
    policy                           a step without `config`: the SDK tries it six times, on any error at all

Calls are followed by names and annotations, as far as the sources reach. What has neither is not seen: a value out of a
container, a client without a type. There the recorded executions of `tests/replay` are the proof.
"""

import ast
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.source_names import Definition, Module, Scope, Sources, names_of

SRC: Final = Path(__file__).resolve().parents[1] / "src"

CONTEXT: Final = "DurableContext"
STEPS: Final = frozenset({"step", "wait_for_callback", "wait_for_condition"})
"""The operations that run their function once. Of the others' functions each operation is checkpointed by itself."""
OPERATIONS: Final = STEPS | {"wait", "invoke", "create_callback", "run_in_child_context", "map", "parallel"}

FORBIDDEN: Final = {
    "clock": ("time", *(f"datetime.datetime.{name}" for name in ("now", "today", "utcnow")), "datetime.date.today"),
    # The hash of a text and the id of an object are others in each process.
    "chance": ("random", "secrets", "uuid.uuid1", "uuid.uuid4", "os.urandom", "builtins.hash", "builtins.id"),
    "environment": ("os.environ", "os.environb", "os.getenv", "os.getpid", "platform", "sys.argv"),
    "io": (
        *("boto3", "botocore.session", "mypy_boto3_dynamodb", "mypy_boto3_lambda", "mypy_boto3_sqs"),
        *("aiohttp", "http.client", "httpx", "requests", "socket", "subprocess", "urllib.request", "urllib3"),
        *("builtins.input", "builtins.open", "builtins.print", "pathlib", "shutil", "sqlite3", "tempfile"),
        *("asyncio", "concurrent", "multiprocessing", "threading"),
    ),
}
CHANGING: Final = frozenset(
    "add append clear discard extend insert pop popitem remove setdefault sort update".split(),
)


@dataclass(frozen=True, order=True)
class Finding:
    """Something that a replay does not bear, and where it stands."""

    path: str
    line: int
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.what}"


class Replayed(ast.NodeVisitor):
    """Reads one function that is replayed, past what its steps run: what is wrong with it, and what it calls."""

    def __init__(self, sources: Sources, module: Module, name: str, function: ast.FunctionDef) -> None:
        self.findings: list[Finding] = []
        self.calls: set[str] = set()
        self.operations: list[tuple[str, Finding]] = []
        self._path = module.name.replace(".", "/") + ".py"
        self._name = name
        self._scope = Scope.of(sources, module, name, function)
        run = [self._run_by(node) for node in ast.walk(function) if isinstance(node, ast.Call)]
        names = {node.id for node in run if isinstance(node, ast.Name)}
        self._steps: list[ast.AST] = []
        for node in ast.walk(function):
            if node in run or (isinstance(node, ast.FunctionDef) and node.name in names):
                self._steps.append(node)
        for step in self._steps:
            self._read_step(step)
        for statement in function.body:
            self.visit(statement)

    def visit(self, node: ast.AST) -> None:
        """Read a piece of code, unless a step runs it."""
        if node not in self._steps:
            super().visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """An annotation is not run."""
        if node.value is not None:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        """What it stands for is used here."""
        self._read_use(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The same, for what is written with dots."""
        if not self._read_use(node):
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        """An operation, or what is replayed too."""
        if operation := self._operation(node):
            self._read_operation(node, operation)
        elif called := self._scope.meaning(node.func):
            self.calls.add(called)
        self.generic_visit(node)

    def _operation(self, node: ast.Call) -> str | None:
        """Which durable operation a call is, if it is one."""
        match node.func:
            case ast.Attribute(value=value, attr=attribute) if attribute in OPERATIONS:
                owner = self._scope.meaning(value) or ""
                return attribute if owner.rpartition(".")[2] == CONTEXT else None
        return None

    def _run_by(self, node: ast.Call) -> ast.expr | None:
        """What a call has a step run, if it does."""
        if self._operation(node) not in STEPS:
            return None
        functions = [part.value for part in node.keywords if part.arg in {"func", "submitter", "check"}]
        return next(iter([*node.args, *functions]), None)

    def _read_use(self, node: ast.Name | ast.Attribute) -> bool:
        meaning = self._scope.meaning(node)
        for rule, names in FORBIDDEN.items():
            if meaning and any(f"{meaning}.".startswith(f"{name}.") for name in names):
                self._find(node, rule, f"{meaning} in {self._name}, which is replayed")
                return True
        return False

    def _read_operation(self, node: ast.Call, operation: str) -> None:
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        match given.get("name"):
            case ast.Constant(value=str(name)) if name:
                twice = Finding(self._path, node.lineno, "name", f"{name} is the name of another operation too")
                self.operations.append((name, twice))
            case _:
                self._find(node, "name", f"{operation} without name=, written out")
        if operation == "step" and "config" not in given:
            self._find(node, "policy", "a step without config=, which names its retry policy")

    def _read_step(self, step: ast.AST) -> None:
        own = set(names_of(step))
        for node in ast.walk(step):
            match node:
                case ast.Nonlocal(names=names) | ast.Global(names=names):
                    self._find(node, "captured", f"a step sets {', '.join(names)}")
                case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    if _root(node) not in own:
                        self._find(node, "captured", f"a step sets {ast.unparse(node)}")
                case ast.Call() if operation := self._operation(node):
                    self._find(node, "nested", f"{operation} inside a step")
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name) as changed, attr=attribute)):
                    if attribute in CHANGING and name not in own and self._scope.meaning(changed) is None:
                        self._find(node, "captured", f"a step changes {name}")

    def _find(self, node: ast.expr | ast.stmt, rule: str, what: str) -> None:
        self.findings.append(Finding(self._path, node.lineno, rule, what))


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return ast.unparse(node)


def check(folder: Path = SRC) -> list[Finding]:
    """What is wrong with the functions under a folder that have a `DurableContext`, and with what they call."""
    sources = Sources(folder)
    waiting: list[tuple[Module, str, Definition]] = [
        (module, name, definition)
        for module in sources.modules.values()
        for name, definition in module.definitions.items()
        if isinstance(definition, ast.FunctionDef) and CONTEXT in ast.unparse(definition.args)
    ]
    read: dict[tuple[str, str], Replayed] = {}
    while waiting:
        module, name, definition = waiting.pop()
        if isinstance(definition, ast.FunctionDef) and (module.name, name) not in read:
            replayed = read[module.name, name] = Replayed(sources, module, name, definition)
            found = [sources.find(called) for called in replayed.calls]
            found += [sources.find(f"{called}.__init__") for called in replayed.calls]
            waiting += filter(None, found)
    findings = {finding for replayed in read.values() for finding in replayed.findings}
    operations = [operation for replayed in read.values() for operation in replayed.operations]
    often = Counter((finding.path, name) for name, finding in operations)
    return sorted(findings | {finding for name, finding in operations if often[finding.path, name] > 1})


def main() -> int:
    """Print what is found; the exit status."""
    findings = check()
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
