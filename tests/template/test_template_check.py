"""The check reports the linters' findings in both forms of the template."""

import pytest

from tools.template_check import TEMPLATE, TemplateError, check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "changed", "finding"),
    [
        pytest.param("maxReceiveCount: 10\n", "maxReceiveTimes: 5\n", "maxReceiveTimes", id="as written"),
        pytest.param(
            "MaximumConcurrency: !Ref IngestConcurrency", "MaximumConcurrency: 1", "E3034", id="as translated"
        ),
    ],
)
def test_a_mistake_in_the_template_is_reported(tmp_path, written, changed, finding):
    text = TEMPLATE.read_text()
    assert text.count(written) == 1
    wrong = tmp_path / "template.yaml"
    wrong.write_text(text.replace(written, changed))
    with pytest.raises(TemplateError, match=finding):
        check(wrong)
