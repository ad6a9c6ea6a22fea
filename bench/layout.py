#!/usr/bin/env python3
"""Says a linker which functions of a program run, so that they lie together: `layout.py PROGRAM TRACE... > layout.ld`.

The kernel maps 64 KiB of a program around whatever runs. Where what runs is strewn over a large program, most of that is in memory.

PROGRAM is not stripped, and its names are mangled in rustc's new way (v0), which says the types of a generic function. A TRACE is
what valgrind's callgrind writes of it (`out.PROCESS.PART`, with `--demangle=no`). What runs in no part but the first of a process is
its start, and lies apart: it is not needed again.

Of the names only the beginnings are written that tell them apart from those of functions that do not run, without what another
compiler or another version of a crate changes in them. Such a beginning may stand for functions that do not run, if those are
smaller than what does, or small."""

import collections
import re
import subprocess
import sys

# Bytes of functions that do not run, which one pattern may stand for: of those that do run so large a part, or so many.
PART, FEW = 0.3, 150
# Letters of a pattern at least, and of one that stands for a single name from where it differs from all others.
SHORTEST, TAIL = 12, 8
WIDTH = 132


# Parts of a name in rustc's new way: an identifier's length, what was said before in the name, which of several is meant (crates,
# implementations of a module), a constant, a lifetime.
LENGTH = re.compile(r"(0|[1-9]\d*)_?")
BEFORE = re.compile(r"B[0-9a-zA-Z]*_")
WHICH = re.compile(r"s[0-9a-zA-Z]*_")
VERBATIM = re.compile(r"K[a-z]n?[0-9a-f]*_|[LG][0-9a-zA-Z]*_|N[a-zA-Z]|.")


def general(name):
    """A name, without what changes although the function stays."""
    name = re.sub(r"\.llvm\.\d+$", "", name)
    if not name.startswith("_R"):
        return re.sub(r"aws_lc_\d+_\d+_\d+_", "aws_lc_*_", name)
    parts, at = ["_R"], 2
    while at < len(name):
        if said := LENGTH.match(name, at):
            end = said.end() + int(said[1])
            parts.append(name[at:end])
        elif said := BEFORE.match(name, at) or WHICH.match(name, at):
            end = said.end()
            parts.append(f"{said[0][0]}*_")
        else:
            said = VERBATIM.match(name, at)
            end = said.end()
            parts.append(said[0])
        at = end
    return "".join(parts)


def sizes(program):
    """The bytes of each function."""
    listed = subprocess.run(["nm", "--print-size", program], check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {row[3]: int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "tTwW"}


def ran(traces):
    """The functions that ran at the start, and those that ran after it."""
    parts = collections.defaultdict(list)
    for trace in traces:
        named = re.search(r"\.(\d+)(?:\.(\d+))?$", trace)
        if not named:
            sys.exit(f"{trace}: a trace is called out.PROCESS or out.PROCESS.PART")
        process, part = named.groups()
        # The last part has no number.
        parts[process].append((int(part or sys.maxsize), trace))
    start, later = set(), set()
    for process in parts.values():
        names = {}
        for at, (_, trace) in enumerate(sorted(process)):
            found = later if at > 0 else start
            with open(trace, encoding="utf-8") as lines:
                for line in lines:
                    # A process says a name once, and its number from then on.
                    said = re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line)
                    if said and said[2]:
                        names[said[1]] = re.sub(r"'\d+$", "", said[2])
                    if said:
                        found.add(names[said[1]])
    return start - later, later


def patterns(names, run, every):
    """The patterns for sorted `names`: `run` says of each how many bytes of it run, `every` how many there are."""
    found = []

    def within(low, high, length):
        used = sum(run[name] for name in names[low:high])
        rest = sum(every[name] for name in names[low:high]) - used
        if used == 0:
            return
        first, last = names[low], names[high - 1]
        if high - low == 1:
            end = max(length + TAIL, SHORTEST)
            found.append(first if end >= len(first) else first[:end].rstrip("*") + "*")
            return
        while length < min(len(first), len(last)) and first[length] == last[length]:
            length += 1
        if length >= SHORTEST and rest <= max(PART * used, FEW):
            found.append(first[:length].rstrip("*") + "*")
            return
        if len(first) == length:
            if run[first]:
                found.append(first)
            low += 1
        while low < high:
            end = low
            while end < high and names[end][length] == names[low][length]:
                end += 1
            within(low, end, length + 1)
            low = end

    within(0, len(names), 0)
    return found


def section(name, found):
    """One of the linker's script. Functions that the compiler takes for unlikely have that before their names."""
    print(f"  {name} : {{")
    line = "   "
    for part in (f" *(.text.*{pattern})" for pattern in found):
        if len(line) + len(part) > WIDTH and line.strip():
            print(line)
            line = "   "
        line += part
    print(f"{line}\n  }}")


def main(program, traces):
    all_sizes = sizes(program)
    start, later = ran(traces)
    if not all_sizes.keys() & later:
        sys.exit(f"{program}: nothing of it runs in the traces after its start: it is stripped, or another build's, or has no second part")
    every = collections.Counter()
    for name, size in all_sizes.items():
        every[general(name)] += size
    print("/* Made by bench/layout.py, which says what it is for; bench/README.md says how to make it anew. A name that is not found any")
    print("   more costs memory, and nothing else. */\n\nSECTIONS {")
    for name, called in ((".text.served", later), (".text.started", start)):
        # Of a name that several functions have, all lie where one has to.
        names = {general(name) for name in called if name in all_sizes}
        run = collections.Counter({name: every[name] for name in names})
        found = patterns(sorted(every), run, every)
        print(f"{name}: {sum(run.values())} bytes of {sum(every.values())}, {len(found)} patterns", file=sys.stderr)
        section(name, found)
        # The first pattern that matches counts.
        every.subtract(run)
    print("}\nINSERT BEFORE .text;")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
