"""What the project is made of, and what is known against it: `make audit`.

It reads every lock file: the licence of each package (from the metadata of the installed wheel), the known
vulnerabilities of each pin (pip-audit asks PyPI), and checkov's findings in the translated template. It writes a bill
of materials of what ships to Lambda. A package that could not be looked up is a failure, and so is an exception below
that nothing needs any more.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from durable_local import ministack_environment
from tools.template_check import TEMPLATE, TemplateError, translated

ROOT: Final = Path(__file__).resolve().parents[1]
AUDIT_BIN: Final = ROOT / ".venv-audit" / "bin"
RUNTIME: Final = ROOT / "src" / "requirements.txt"
BILL_OF_MATERIALS: Final = ROOT / "build" / "sbom.cdx.json"
ENVIRONMENTS: Final = {
    RUNTIME: ROOT / ".venv-functions",
    ROOT / "requirements" / "dev.txt": ROOT / ".venv",
    ROOT / "requirements" / "uv.txt": ROOT / ".venv",
    ROOT / "requirements" / "sam.txt": ROOT / ".venv-sam",
    ROOT / "requirements" / "audit.txt": ROOT / ".venv-audit",
    ROOT / "requirements" / "naive.txt": ROOT / ".venv-naive",
    ministack_environment.LOCK: ROOT / ministack_environment.folder().name,
}
"""The environment that `make` installs from each lock file."""

CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
PERMISSIVE: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0"}
    | {"MIT-CMU", "PSF-2.0", "Zlib"}
)
OF_TOOLS: Final = PERMISSIVE | {"MPL-2.0"}
"""Tools are installed, never passed on, so the MPL's terms for changed files do not apply."""
LICENCES_BY_HAND: Final = {
    "cookiecutter": "BSD-3-Clause",  # only in its licence file
    "docutils": "BSD-2-Clause",  # and public domain, and PSF; the GPL is for an Emacs mode that the wheel does not have
    "text-unidecode": "Artistic-1.0-Perl OR GPL-2.0-or-later",  # a dependency of the SAM CLI
}
TOOLS_WITH_OTHER_LICENCES: Final = frozenset({"text-unidecode"})
"""Used as they are, by tools that ship nowhere."""

ACCEPTED_FINDINGS: Final = {
    "CKV_AWS_115": "the event source mappings limit the functions; reserved concurrency takes from the whole account",
    "CKV_AWS_116": "no function needs a queue for failed asynchronous invokes: messages and stream records have one "
    "behind their event source mapping, orders are in the ledger, and the sweep runs again after five minutes",
    "CKV_AWS_117": "the functions call only AWS's public endpoints, and nothing in a VPC",
    "CKV_AWS_119": "DynamoDB encrypts the tables with its own keys, or with the customer's: checkov reads no condition",
    "CKV_AWS_173": "the variables have names and ARNs, and no secret; Lambda encrypts them with its own key",
}
"""checkov's checks that resources of the template do not pass, each with the reason why that is accepted."""


@dataclass(frozen=True)
class Pin:
    """An entry of a lock file. `everywhere` is false if its marker leaves it out on some machines."""

    name: str
    version: str
    everywhere: bool
    hashes: tuple[str, ...]


def pins(lock: Path) -> list[Pin]:
    """The entries of a lock file."""
    found = []
    for entry in re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip()):
        head, *hashes = entry.split(" \\\n")
        requirement = Requirement(head)
        [pinned] = requirement.specifier
        digests = tuple(line.strip().removeprefix("--hash=sha256:") for line in hashes)
        found.append(Pin(canonicalize_name(requirement.name), pinned.version, requirement.marker is None, digests))
    return found


def installed(environment: Path) -> dict[str, Distribution]:
    """The distributions of an environment, by canonical name."""
    [packages] = environment.glob("lib/python3*/site-packages")
    return {canonicalize_name(found.metadata["Name"]): found for found in distributions(path=[str(packages)])}


def licence(name: str, metadata: Any) -> str | None:
    """The SPDX expression that a wheel's metadata (an email.message.Message) declares; None if it declares none."""
    if (by_hand := LICENCES_BY_HAND.get(name)) or (by_hand := metadata.get("License-Expression")):
        return str(by_hand)
    named = str(metadata.get("License") or "")
    if named and _is_allowed(named, OF_TOOLS):
        return named
    declared = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier", []) if text.startswith("License")]
    # "OSI Approved" and the like name no licence; an unknown one stays as it is, and is not allowed.
    names = [CLASSIFIERS.get(text, text) for text in declared if text not in {"OSI Approved", "DFSG approved"}]
    return " AND ".join(sorted(set(names) - {"Freely Distributable"})) or None


def _is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether one of each alternative is allowed. Without parentheses it asks for more than SPDX, never for less."""
    plain = expression.replace("(", "").replace(")", "")
    return all(any(name.strip() in allowed for name in part.split(" OR ")) for part in plain.split(" AND "))


def licences(lock: Path, packages: Mapping[str, Distribution]) -> tuple[dict[str, str], list[str]]:
    """The licence of each package of a lock file that is installed, and what is wrong with them."""
    allowed = PERMISSIVE if lock == RUNTIME else OF_TOOLS
    found, problems = {}, []
    for pin in pins(lock):
        package = packages.get(pin.name)
        if package is None or package.version != pin.version:
            if pin.everywhere:
                problems.append(f"{lock.name}: {pin.name} {pin.version} is not installed, so its licence is not known")
            continue
        declared = licence(pin.name, package.metadata)
        if declared is None:
            problems.append(f"{lock.name}: {pin.name} declares no licence")
            continue
        found[pin.name] = declared
        if not _is_allowed(declared, allowed) and (lock == RUNTIME or pin.name not in TOOLS_WITH_OTHER_LICENCES):
            problems.append(f"{lock.name}: {pin.name} has a licence that is not allowed here: {declared}")
    return found, problems


def bill_of_materials(packages: Mapping[str, Distribution]) -> dict[str, Any]:
    """What ships to Lambda, as CycloneDX 1.6. The same lock file gives the same text: no time and no random id."""
    shipped = pins(RUNTIME)
    urls = {pin.name: f"pkg:pypi/{pin.name}@{pin.version}" for pin in shipped}
    components, depends = [], []
    for pin in shipped:
        metadata = packages[pin.name].metadata
        url = urls[pin.name]
        archives = [{"alg": "SHA-256", "content": digest} for digest in sorted(pin.hashes)]
        components.append({
            "type": "library",
            "bom-ref": url,
            "name": pin.name,
            "version": pin.version,
            "licenses": [{"expression": _spdx(licence(pin.name, metadata) or "NOASSERTION")}],
            "purl": url,
            # The archives that the lock file allows: one of them is installed.
            "externalReferences": [{"type": "distribution", "url": url, "hashes": archives}],
        })  # fmt: skip
        needs = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
        here = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
        depends.append({"ref": url, "dependsOn": sorted({urls[canonicalize_name(need.name)] for need in here})})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "order-pipeline", "name": "order-pipeline"}},
        "components": components,
        "dependencies": [{"ref": "order-pipeline", "dependsOn": sorted(urls.values())}, *depends],
    }


def _spdx(expression: str) -> str:
    """With an id of SPDX's list for what a classifier leaves open: "BSD License" has no version."""
    return re.sub(r"\bBSD(?!-)\b", "BSD-3-Clause", expression)


def files_to_look_up(locks: Iterable[Path]) -> list[str]:
    """Every pin of the lock files, as requirements files: more than one where a package has more than one version."""
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for pin in pins(lock):
            versions.setdefault(pin.name, set()).add(pin.version)
    rounds = max(map(len, versions.values()))
    ordered = {name: sorted(known) for name, known in sorted(versions.items())}
    return [
        "".join(f"{name}=={known[place]}\n" for name, known in ordered.items() if place < len(known))
        for place in range(rounds)
    ]


def vulnerabilities(report: Mapping[str, Any], wanted: int) -> list[str]:
    """What pip-audit's JSON says against the pins. `wanted` is their number.

    A pin without an answer counts as a problem: it has not passed.
    """
    answered = [package for package in report["dependencies"] if "vulns" in package]
    problems = [
        f"{package['name']} {package['version']}: {known['id']}, corrected in {_versions(known['fix_versions'])}"
        for package in answered
        for known in package["vulns"]
    ]
    if unanswered := wanted - len(answered):
        reasons = [package["skip_reason"] for package in report["dependencies"] if "skip_reason" in package]
        reason = f" ({reasons[0]}, …)" if reasons else ""
        problems.append(
            f"{unanswered} of {wanted} packages could not be looked up{reason}: is PyPI's JSON API reachable?"
        )
    return problems


def _versions(texts: list[str]) -> str:
    return ", ".join(texts) or "no version"


def _look_up() -> list[str]:
    problems = []
    for text in files_to_look_up(ENVIRONMENTS):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as written:
            written.write(text)
            written.flush()
            # --disable-pip and --no-deps: nothing is resolved or installed. The exit status is 1 for a finding too.
            done = _run("pip-audit", "--format", "json", "--disable-pip", "--no-deps", "--requirement", written.name)
        try:
            problems += vulnerabilities(json.loads(done.stdout), text.count("\n"))
        except ValueError:
            problems.append(f"pip-audit failed: {done.stderr.strip()[-500:]}")
    return problems


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([AUDIT_BIN / tool, *arguments], capture_output=True, text=True, check=False)


def findings(failed: Iterable[Mapping[str, Any]]) -> list[str]:
    """checkov's failed checks that have no reason, and reasons that no failed check needs."""
    failed = list(failed)
    problems = [
        f"checkov: {found['resource']}: {found['check_name']} ({found['check_id']})"
        for found in failed
        if found["check_id"] not in ACCEPTED_FINDINGS
    ]
    unneeded = ACCEPTED_FINDINGS.keys() - {found["check_id"] for found in failed}
    return problems + [f"checkov: every resource passes {check}: remove its reason" for check in sorted(unneeded)]


def _check_template() -> list[str]:
    try:
        template = translated(TEMPLATE)
    except TemplateError as error:
        return [str(error)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.json"
        path.write_text(json.dumps(template, indent=2), encoding="utf-8")
        options = ("--framework", "cloudformation", "--output", "json", "--skip-download")
        done = _run("checkov", "--file", str(path), *options)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [f"checkov failed: {done.stderr.strip()[-500:]}"]
    if not report["summary"]["passed"] or report["summary"]["parsing_errors"]:
        return ["checkov did not read the translated template"]
    return findings(report["results"]["failed_checks"])


def main() -> int:
    """Print what was found; 1 if there is a problem."""
    problems: list[str] = []
    for lock, environment in ENVIRONMENTS.items():
        found, wrong = licences(lock, installed(environment))
        problems += wrong
        print(f"{lock.relative_to(ROOT)}: {len(found)} packages")
        for expression in sorted(set(found.values())):
            print(f"  {expression}: {', '.join(name for name, known in found.items() if known == expression)}")
    BILL_OF_MATERIALS.parent.mkdir(exist_ok=True)
    text = json.dumps(bill_of_materials(installed(ENVIRONMENTS[RUNTIME])), indent=2) + "\n"
    BILL_OF_MATERIALS.write_text(text, encoding="utf-8")
    print(f"bill of materials: {BILL_OF_MATERIALS.relative_to(ROOT)}")
    problems += _check_template()
    print(f"checkov: {len(ACCEPTED_FINDINGS)} checks are accepted with a reason (tools/audit.py)")
    problems += _look_up()
    for problem in problems:
        print(f"make audit: {problem}", file=sys.stderr)
    print(f"{len(problems)} problems" if problems else "no known vulnerability, every licence is allowed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
