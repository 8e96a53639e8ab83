"""`make audit`: a package without an answer has not passed, and a licence must be known and allowed."""

import json

import pytest

from tools import audit
from tools.audit import ENVIRONMENTS, ROOT, RUNTIME


@pytest.fixture
def package(tmp_path):
    """Makes a wheel's metadata as it is when installed; the environment's distributions."""

    def make(*lines):
        folder = tmp_path / "lib" / "python3.13" / "site-packages" / "boto3-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            "\n".join(("Metadata-Version: 2.4", "Name: Boto3", "Version: 1.0", *lines, ""))
        )
        return audit.installed(tmp_path)

    return make


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "lock.txt"
    path.write_text("boto3==1.0 \\\n    --hash=sha256:aa\n")
    return path


def test_every_lock_file_is_audited():
    locks = {RUNTIME, *ROOT.glob("requirements/*.txt")}
    locks |= set((ROOT / "durable_local" / "src").rglob("*.lock.txt"))
    assert set(ENVIRONMENTS) == locks


def test_every_pin_is_looked_up_once():
    asked = [line for text in audit.files_to_look_up(ENVIRONMENTS) for line in text.splitlines()]
    pinned = {f"{pin.name}=={pin.version}" for lock in ENVIRONMENTS for pin in audit.pins(lock)}
    assert set(asked) == pinned
    assert len(asked) == len(pinned)
    for text in audit.files_to_look_up(ENVIRONMENTS):
        names = [line.partition("==")[0] for line in text.splitlines()]
        assert len(names) == len(set(names))


def test_what_ships_to_lambda_has_licences_that_are_allowed():
    found, problems = audit.licences(RUNTIME, audit.installed(ENVIRONMENTS[RUNTIME]))
    assert problems == []
    assert found.keys() == {pin.name for pin in audit.pins(RUNTIME)}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)"], []),
        (["License: Apache-2.0"], []),
        (["License: see the file", "Classifier: License :: OSI Approved :: MIT License"], []),
        (["License-Expression: GPL-3.0-only"], ["not allowed here: GPL-3.0-only"]),
        (["License-Expression: MIT AND GPL-3.0-only"], ["not allowed here: MIT AND GPL-3.0-only"]),
        (["Classifier: License :: Other/Proprietary License"], ["not allowed here: Other/Proprietary License"]),
        (["License: ask the author"], ["declares no licence"]),
        ([], ["declares no licence"]),
    ],
)
def test_a_licence_that_is_unknown_or_not_allowed_is_a_problem(package, lock, lines, expected):
    _, problems = audit.licences(lock, package(*lines))
    assert len(problems) == len(expected)
    assert all(problem.endswith(end) for problem, end in zip(problems, expected, strict=True))


def test_a_package_that_is_not_installed_is_a_problem_unless_its_marker_leaves_it_out(package, lock):
    packages = package("License: MIT")
    lock.write_text(
        "boto3==2.0 \\\n    --hash=sha256:aa\npywin32==1 ; sys_platform == 'win32' \\\n    --hash=sha256:bb\n"
    )
    _, [problem] = audit.licences(lock, packages)
    assert "boto3 2.0 is not installed" in problem


def test_a_package_that_could_not_be_looked_up_is_a_problem():
    skipped = {"name": "boto3", "skip_reason": "Dependency not found on PyPI and could not be audited: boto3 (1.0)"}
    passed = {"name": "six", "version": "1.17.0", "vulns": []}
    assert audit.vulnerabilities({"dependencies": [passed], "fixes": []}, wanted=1) == []
    [problem] = audit.vulnerabilities({"dependencies": [passed, skipped], "fixes": []}, wanted=2)
    assert problem.startswith("1 of 2 packages could not be looked up (Dependency not found on PyPI")
    [problem] = audit.vulnerabilities({"dependencies": [passed], "fixes": []}, wanted=2)
    assert problem.startswith("1 of 2 packages could not be looked up")


def test_a_known_vulnerability_is_a_problem_that_names_the_corrected_version():
    known = {"id": "PYSEC-2021-108", "fix_versions": ["1.26.5"], "aliases": ["CVE-2021-33503"], "description": ""}
    report = {"dependencies": [{"name": "urllib3", "version": "1.26.4", "vulns": [known]}], "fixes": []}
    assert audit.vulnerabilities(report, wanted=1) == [
        "urllib3 1.26.4: PYSEC-2021-108, corrected in 1.26.5"
    ]  # fmt: skip


def test_a_finding_without_a_reason_and_a_reason_without_a_finding_are_problems():
    failed = [{"check_id": check, "check_name": "", "resource": "Queue"} for check in audit.ACCEPTED_FINDINGS]
    assert audit.findings(failed) == []
    new = {"check_id": "CKV_AWS_0", "check_name": "Ensure a new rule", "resource": "AWS::SQS::Queue.New"}
    assert audit.findings([*failed, new]) == ["checkov: AWS::SQS::Queue.New: Ensure a new rule (CKV_AWS_0)"]
    assert audit.findings(failed[1:]) == [f"checkov: every resource passes {failed[0]['check_id']}: remove its reason"]


def test_the_bill_of_materials_has_every_pin_with_its_hashes_and_nothing_that_changes():
    packages = audit.installed(ENVIRONMENTS[RUNTIME])
    bill = audit.bill_of_materials(packages)
    pinned = {f"pkg:pypi/{pin.name}@{pin.version}": set(pin.hashes) for pin in audit.pins(RUNTIME)}
    assert {
        component["purl"]: {digest["content"] for digest in component["externalReferences"][0]["hashes"]}
        for component in bill["components"]
    } == pinned
    assert all(component["licenses"][0]["expression"] != "NOASSERTION" for component in bill["components"])
    [boto3] = [found for found in bill["dependencies"] if found["ref"].startswith("pkg:pypi/boto3@")]
    assert {url.partition("@")[0] for url in boto3["dependsOn"]} == {
        "pkg:pypi/botocore", "pkg:pypi/jmespath", "pkg:pypi/s3transfer"
    }  # fmt: skip
    assert json.dumps(bill) == json.dumps(audit.bill_of_materials(packages))
    assert not {"serialNumber", "timestamp"} & {*bill, *bill["metadata"]}
