"""`wsec completion`: scripts that complete the command line in bash, zsh and fish, made from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from frontends.cli.arguments import Verbs, add_verb
from frontends.cli.console import Console

DESCRIPTION = """\
Print a script that completes verbs, options, their values and file names:
  bash   eval "$(wsec completion bash)"            in ~/.bashrc
  zsh    eval "$(wsec completion zsh)"             in ~/.zshrc, after compinit
  fish   wsec completion fish > ~/.config/fish/completions/wsec.fish"""


@dataclass(frozen=True)
class Option:
    """An option; `values` is what it takes: None for a switch, no words if they cannot be told, or are `files`."""

    flags: tuple[str, ...]
    help: str
    values: tuple[str, ...] | None
    files: bool = False


@dataclass(frozen=True)
class Command:
    """A verb, by the words that lead to it. What may stand at its end: `words` (verbs below it, choices), or files."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    files: bool
    below: tuple[Command, ...] = field(default=(), repr=False)

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.below:
            yield from command.walk()


def register(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(verbs, common, "completion", "completion of the command line in a shell", DESCRIPTION, run)
    parser.add_argument("shell", choices=tuple(SHELLS))


def run(args: argparse.Namespace, console: Console) -> int:
    from frontends.cli.main import parser

    console.out(SHELLS[args.shell](commands(parser())), end="")
    return 0


def commands(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), summary: str = "") -> Command:
    """What `parser` takes, with the verbs below it."""
    options, words, below, files = [], [], [], False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {entry.dest: entry.help or "" for entry in action._choices_actions}
            for name, verb in action.choices.items():
                below.append(commands(verb, (*path, name), summaries.get(name, "")))
                words.append(name)
        elif action.option_strings:
            values = None if action.nargs == 0 else tuple(map(str, action.choices or ()))
            options.append(Option(tuple(action.option_strings), action.help or "", values, _is_file(action)))
        elif action.choices:
            words += map(str, action.choices)
        else:
            files = files or _is_file(action)
    return Command(path, summary, tuple(options), tuple(words), files, tuple(below))


def _is_file(action: argparse.Action) -> bool:
    """Do the words for it name files, as far as one can tell?"""
    words = action.metavar if isinstance(action.metavar, str) else ""
    return action.type is Path or any(word in words for word in ("FILE", "PATH", "DIR", "."))


# ---- bash -----------------------------------------------------------------------------------------------------------

_BASH = """\
# wsec completion for bash
_wsec() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local path= values= options= takes_file= words= files= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
      {paths}) path="$path ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$path" in
{cases}
  esac
  case " $values " in
    *" $prev:"*)
      values=${{values#*"$prev:"}}
      values=${{values%% *}}
      if [[ -n $values ]]; then COMPREPLY=($(compgen -W "${{values//,/ }}" -- "$cur"))
      elif [[ " $takes_file " == *" $prev "* ]]; then COMPREPLY=($(compgen -f -- "$cur")); fi
      return ;;
  esac
  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ -n $files ]]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
  fi
}}
complete -o filenames -F _wsec wsec
"""


def bash(root: Command) -> str:
    """The script for bash. In it, `values` is a list of `--option:value,value` for all options that take one."""
    found = list(root.walk())
    paths = "|".join(f'"{_spaced(command)}"' for command in found if command.path)
    cases = []
    for command in found:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        values = " ".join(
            f"{flag}:{','.join(option.values)}"
            for option in command.options
            if option.values is not None
            for flag in option.flags
        )
        takes_file = " ".join(flag for option in command.options if option.files for flag in option.flags)
        sets = {
            "options": flags,
            "values": values,
            "takes_file": takes_file,
            "words": " ".join(command.words),
            "files": "1" if command.files else "",
        }
        assignments = " ".join(f'{name}="{value}"' for name, value in sets.items())
        cases.append(f'    "{_spaced(command)}") {assignments} ;;')
    return _BASH.format(paths=paths, cases="\n".join(cases))


def _spaced(command: Command) -> str:
    return "".join(f" {word}" for word in command.path)


# ---- zsh ------------------------------------------------------------------------------------------------------------


def zsh(root: Command) -> str:
    """The script for zsh: a function a command, which hands on to those below it."""
    functions = "\n".join(_zsh_function(command) for command in root.walk())
    return f"#compdef wsec\n# wsec completion for zsh\n{functions}\ncompdef _wsec wsec\n"


def _zsh_function(command: Command) -> str:
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    lines = [f"{_zsh_name(command)}() {{"]
    if command.below:
        verbs = " ".join(_shell_quoted(f"{c.path[-1]}:{c.help}") for c in command.below)
        lines += [
            "  local line state",
            f"  _arguments -C {' '.join([*specs, _shell_quoted('1: :->verb'), _shell_quoted('*:: :->rest')])}",
            f"  local -a verbs=({verbs})",
            "  case $state in",
            "    verb) _describe verb verbs ;;",
            "    rest) case $line[1] in",
            *(f"      {below.path[-1]}) {_zsh_name(below)} ;;" for below in command.below),
            "    esac ;;",
            "  esac",
        ]
    else:
        rest = f"*: :({' '.join(command.words)})" if command.words else "*: :_files"
        lines.append(
            f"  _arguments {' '.join([*specs, *([_shell_quoted(rest)] if command.words or command.files else [])])}"
        )
    return "\n".join([*lines, "}"])


def _zsh_name(command: Command) -> str:
    return "_".join(("_wsec", *command.path)).replace("-", "_")


def _zsh_option(option: Option) -> Iterator[str]:
    text = option.help.replace("\\", "\\\\").replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    takes = ":value:_files" if option.files else "" if option.values is None else f":value:({' '.join(option.values)})"
    for flag in option.flags:
        yield _shell_quoted(f"*{flag}[{text}]{takes}")


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# ---- fish -----------------------------------------------------------------------------------------------------------


def fish(root: Command) -> str:
    """The script for fish: a line for every word that may stand somewhere."""
    lines = ["# wsec completion for fish", "complete -c wsec -f"]
    for command in root.walk():
        here = _fish_condition(command)
        for below in command.below:
            lines.append(f"complete -c wsec -n {here} -a {below.path[-1]} -d {_fish_quoted(below.help)}")
        if command.words and not command.below:
            lines.append(f"complete -c wsec -n {here} -a {_fish_quoted(' '.join(command.words))}")
        if command.files:
            lines.append(f"complete -c wsec -n {here} -F")
        lines += [f"complete -c wsec -n {here} {_fish_option(option)}" for option in command.options]
    return "\n".join([*lines, ""])


def _fish_condition(command: Command) -> str:
    """True where the words that lead to the command have been said, and none of those below it."""
    tests = [f"__fish_seen_subcommand_from {word}" for word in command.path]
    if command.below:
        tests.append(f"not __fish_seen_subcommand_from {' '.join(below.path[-1] for below in command.below)}")
    return _fish_quoted("; and ".join(tests) or "true")


def _fish_option(option: Option) -> str:
    flags = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    takes = (
        [] if option.values is None else [f"-xa {_fish_quoted(' '.join(option.values))}"] if option.values else ["-rF"]
    )
    return " ".join([*flags, *takes, f"-d {_fish_quoted(option.help)}"])


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[Command], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
