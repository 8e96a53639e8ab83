import pytest


@pytest.fixture
def no_browser(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CHROMIUM", "CI"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_browser_a_test_is_skipped_with_a_reason_that_names_the_variable(find_browser, no_browser):
    with pytest.raises(pytest.skip.Exception, match="CHROMIUM=path"):
        find_browser()


def test_without_a_browser_a_test_fails_in_ci(find_browser, no_browser, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match="CHROMIUM=path") as raised:
        find_browser()
    assert raised.type is pytest.fail.Exception


def test_the_variable_names_the_browser(find_browser, no_browser, monkeypatch, tmp_path):
    chosen, other = tmp_path / "a browser", tmp_path / "chromium"
    for program in (chosen, other):
        program.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM", str(chosen))
    assert find_browser() == str(chosen)
