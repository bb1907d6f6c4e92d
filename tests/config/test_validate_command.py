"""`validate`: the answer on stdout, the talk on stderr, 0 or 2 at the end. Nothing is contacted."""

import json
import socket

from scaler.cli.validate import validate_command


def test_a_valid_file_ends_with_0_and_a_silent_stdout(tmp_path, good, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(good, encoding="utf-8")

    assert validate_command([file], json_output=False) == 0

    out, err = capsys.readouterr()
    assert (out, err) == ("", "valid: 1 queue, 1 fleet\n")


def test_every_error_is_a_line_and_the_end_is_2(tmp_path, good, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(good.replace("max: 10", "max: 1") + "lop: {}\n", encoding="utf-8")

    assert validate_command([file], json_output=False) == 2

    out, err = capsys.readouterr()
    assert [line.partition(" ")[0] for line in out.splitlines()] == [f"{file}:9:27", f"{file}:11:1"]
    assert err == "2 errors\n"


def test_warnings_are_marked_and_do_not_fail(tmp_path, good, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(good + "publish: {interval: 5m}\n", encoding="utf-8")

    assert validate_command([file], json_output=False) == 0

    out, err = capsys.readouterr()
    assert out.startswith(f"warning: {file}:11:21 publish.interval: 5m — ")
    assert err == "valid: 1 queue, 1 fleet, 1 warning\n"


def test_json_is_one_document_either_way(tmp_path, good, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(good + "publish: {interval: 5m}\n", encoding="utf-8")

    assert validate_command([file], json_output=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], document["errors"]) == (True, [])
    assert document["warnings"][0]["path"] == "publish.interval"

    assert validate_command([tmp_path / "none.yaml"], json_output=True) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], len(document["errors"])) == (False, 1)


def test_the_environment_of_the_process_is_used(tmp_path, good, monkeypatch):
    file = tmp_path / "x.yaml"
    file.write_text(good.replace("redis://127.0.0.1:6379/0", "${A_URL}"), encoding="utf-8")

    assert validate_command([file], json_output=True) == 2
    monkeypatch.setenv("A_URL", "redis://x")
    assert validate_command([file], json_output=True) == 0


def test_it_is_offline(tmp_path, good, monkeypatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    file = tmp_path / "x.yaml"
    file.write_text(good, encoding="utf-8")

    assert validate_command([file], json_output=False) == 0
