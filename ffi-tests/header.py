"""Reads include/corelane.h: the functions with their parameters and documented statuses, the structs, the constants.

`header.py OUT` writes into the folder OUT, for the C programs:
- recorded.c and wrap.txt: wraps every function, so that each (function, status) pair that a program sees is written to the
  file that the environment variable CORELANE_COVERAGE names (ffi-tests/coverage.py reads it);
- generated.h: calls of every function with NULL in each pointer position, with structs of every size, with texts that are
  not UTF-8, with handles that are not valid, ports with which another thread waits, and in a child of fork (ffi-tests/c/calls.c runs them);
- inits.c: every INIT macro (scripts/ffi.sh compiles it in each language mode).

It also compares the header with ffi-tests/c/frozen.h, the header of an earlier day: constants and calls must be the same,
and each struct of then must be the beginning of the struct of today. `header.py --freeze` writes frozen.h anew, which is
right only when the ABI may break (docs/packaging.md).

New functions are covered without a change here. A new kind of handle needs a value in calls.c.
"""

import os
import re
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
FROZEN = os.path.join(HERE, "c", "frozen.h")
HEADER = os.path.join(os.path.dirname(HERE), "include", "corelane.h")


@dataclass
class Parameter:
    """`kind` is the type without the name; a pointer to a function has its whole declarator in `declared`."""

    declared: str
    name: str
    kind: str

    @property
    def is_function(self):
        return "(*" in self.declared or self.kind in FUNCTION_TYPES

    @property
    def is_pointer(self):
        return self.kind.endswith("*") or self.is_function

    @property
    def pointee(self):
        """The type behind the pointer, without const and struct."""
        return re.sub(r"\b(const|struct)\b", "", self.kind[:-1]).strip()

    @property
    def plain(self):
        return re.sub(r"\b(const|struct)\b", "", self.kind).strip()


@dataclass
class Function:
    name: str
    returns: str
    parameters: list
    doc: str  # one line; paragraphs are divided by newlines
    statuses: set = field(default_factory=set)

    def length_of(self, parameter):
        """The parameter with the length of a text or array, if it has one."""
        at = self.parameters.index(parameter)
        following = self.parameters[at + 1] if at + 1 < len(self.parameters) else None
        return following if following and following.kind == "size_t" else None

    def is_text(self, parameter):
        return parameter.kind == "const char *" and self.length_of(parameter) is not None

    def allows_null(self, parameter):
        doc = self.doc.replace("\n", " ")
        if parameter.name in ("error", "context", "free_context"):
            return True
        if re.search(rf"`{parameter.name}`([^.]*may be NULL| \(unless it is NULL\))", doc):
            return True
        return "NULL is allowed" in doc and [one.name for one in self.parameters if one.is_pointer] == [parameter.name]


FUNCTION_TYPES = {}


def split_parameters(text):
    depth, start, parts = 0, 0, []
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [" ".join(part.split()) for part in parts]


def read_parameter(declared):
    function = re.search(r"\(\*(\w+)\)", declared)
    if function:
        return Parameter(declared, function[1], re.sub(r"\(\*\w+\)", "(*)", declared))
    kind, star, name = re.fullmatch(r"(.*?)(\**)(\w+)", declared).groups()
    return Parameter(declared, name, (kind.strip() + " " + star).strip())


class Header:
    def __init__(self, path=HEADER):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.constants = dict(re.findall(r"^(?:#define|  )\s*(CORELANE_\w+)(?: =)? ([-\w]+),?$", text, re.M))
        self.status_names = dict(
            (name, int(number)) for name, number in re.findall(r"^  (CORELANE_[A-Z_]+) = (-?\d+),$", text, re.M)
            if not name.startswith("CORELANE_REASON_")
        )
        # Structs, and those of them that begin with their size.
        self.structs = {}
        for body, name in re.findall(r"^typedef struct \w+ \{\n(.*?)^\} (\w+);", text, re.M | re.S):
            fields = [line.strip().rstrip(";") for line in body.splitlines() if line.strip() and "//" not in line]
            self.structs[name] = [one.removeprefix("struct ") for one in fields]
        self.sized = [name for name, fields in self.structs.items() if fields[0] == "uint32_t size"]
        self.handles = [name for name, fields in self.structs.items() if fields in (["uint64_t value"], ["uint32_t value"])]
        self.inits = re.findall(r"^#define (CORELANE_\w+_INIT) ", text, re.M)
        for returns, name, parameters in re.findall(r"^typedef ([\w *]+?)\(\*(\w+)\)\((.*?)\);", text, re.M | re.S):
            FUNCTION_TYPES[name] = (returns.strip(), " ".join(parameters.split()))
        self.functions = []
        section = text[text.index('extern "C" {') :]
        pattern = r"((?:^//[^\n]*\n)*)^((?:const )?\w+ \*?)(corelane_\w+)\((.*?)\);$"
        for doc, returns, name, parameters in re.findall(pattern, section, re.M | re.S):
            lines = [line.removeprefix("//").strip() for line in doc.splitlines()]
            doc = re.sub(r" *\n *", "\n", re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(line or "\n" for line in lines))).strip()
            doc = re.sub(r"\n+", "\n", doc)
            found = [] if parameters == "void" else [read_parameter(one) for one in split_parameters(parameters)]
            self.functions.append(Function(name, returns.strip(), found, doc))
        self.by_name = {one.name: one for one in self.functions}
        for function in self.functions:
            function.statuses = self.documented(function, ())

    def documented(self, function, seen):
        """The statuses in the last paragraph, and those of the functions that it refers to."""
        last = function.doc.split("\n")[-1]
        found = {name for name in re.findall(r"CORELANE_[A-Z_]+", last) if name in self.status_names}
        for other in re.findall(r"\b[Aa]s (?:for )?`(corelane_\w+)`", last):
            if other in self.by_name and other not in seen:
                found |= self.documented(self.by_name[other], (*seen, function.name))
        return found - {"CORELANE_OK"}


def recorded(header):
    """C code that wraps every function and records what it returns."""
    wrapped = [one for one in header.functions if one.returns == "int32_t"]
    others = [one for one in header.functions if one.returns != "int32_t"]
    numbers = sorted(header.status_names.values())
    out = [RECORD.replace("FUNCTIONS", str(len(header.functions))).replace("LOWEST", str(-numbers[0]))]
    for at, function in enumerate(wrapped + others):
        parameters = ", ".join(one.declared for one in function.parameters) or "void"
        arguments = ", ".join(one.name for one in function.parameters)
        gap = "" if function.returns.endswith("*") else " "
        out.append(f"{function.returns}{gap}__real_{function.name}({parameters});")
        out.append(f"{function.returns}{gap}__wrap_{function.name}({parameters});")
        out.append(f"{function.returns}{gap}__wrap_{function.name}({parameters}) {{")
        out.append(f"  {function.returns}{gap}result = __real_{function.name}({arguments});")
        value = "result" if function.returns == "int32_t" else "0"
        out.append(f'  record({at}, "{function.name}", {value});')
        if any(one.name == "out_status" for one in function.parameters):
            out.append("  if (result >= 0 && out_status != NULL) {")
            out.append(f'    record({at}, "{function.name}", *out_status);')
            out.append("  }")
        out.append("  return result;\n}\n")
    return "\n".join(out)


RECORD = """/* Written by ffi-tests/header.py: records which function has returned which status. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "corelane.h"

static int file = -1;

/* Opened first, because a program may give up its rights, or its descriptors. */
__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("CORELANE_COVERAGE");
  if (path != NULL && (file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644)) < 0) {
    perror(path);
    abort();
  }
}

/* Each pair is written when it is first seen, so that programs that are killed, and children of fork, are counted. */
static void record(int function, const char *name, int32_t status) {
  static unsigned char seen[FUNCTIONS][LOWEST + 1];
  const int32_t place = status >= 0 ? 0 : -status <= LOWEST ? -status : LOWEST;
  char line[128];
  int length;
  if (file < 0 || __atomic_exchange_n(&seen[function][place], 1, __ATOMIC_RELAXED) != 0) {
    return;
  }
  length = snprintf(line, sizeof line, "%s %d\\n", name, status > 0 ? 0 : status);
  if (write(file, line, (size_t)length) != length) {
    perror("CORELANE_COVERAGE");
    abort();
  }
}
"""


class Calls:
    """Generates calls: every argument is good, apart from one."""

    def __init__(self, header):
        self.header = header
        self.out = []

    def block(self, function, bad, expected, before="", after=""):
        """One call in a block of its own. `bad` maps a parameter's name to another argument."""
        out, arguments = ["  {"], []
        for one in function.parameters:
            if one.name not in bad:
                out += [f"    {line}" for line in self.local(one)]
            arguments.append(bad.get(one.name, self.argument(function, one)))
        if before:
            out.append(f"    {before}")
        call = f"{function.name}({', '.join(arguments)})"
        described = ", ".join(f"{name} {value}" for name, value in bad.items()) or "good arguments"
        described = described.replace("\\", "\\\\").replace('"', '\\"')
        out.append(f'    {expected}("{function.name}: {described}", {call});')
        if after:
            out.append(f"    {after}")
        # A text that was handed out although another argument was bad.
        for one in function.parameters:
            if one.name not in bad and one.name.startswith("out_") and one.pointee == "corelane_text":
                out.append(f"    (void)corelane_text_free(&{one.name});")
        out.append("  }")
        self.out += out

    def local(self, one):
        if one.is_function or not one.is_pointer or one.pointee in ("char", "uint8_t", "void"):
            return []
        if one.pointee in self.header.sized:
            return [f"{one.pointee} {one.name} = {one.pointee.upper()}_INIT;"]
        if one.pointee.endswith("*"):
            return [f"{one.kind[:-1].strip()} {one.name} = NULL;"]
        zero = "{0}" if one.pointee in self.header.structs else "0"
        return [f"{one.pointee} {one.name} = {zero};"]

    def argument(self, function, one):
        if one.is_function:
            return self.callback(one)
        if one.is_pointer:
            if one.pointee in ("char", "uint8_t", "void"):
                return {"char": '"generic"', "uint8_t": '(const uint8_t *)"{}"', "void": "&generated_context"}[one.pointee]
            return "&" + one.name
        if one.plain in self.header.handles:
            return "good->" + one.plain
        at = function.parameters.index(one)
        before = function.parameters[at - 1] if at > 0 else None
        if one.kind == "size_t" and before is not None and before.kind == "const char *":
            return "CORELANE_NUL_TERMINATED"
        return "1"

    def callback(self, one):
        if one.kind in FUNCTION_TYPES:
            returns, parameters = FUNCTION_TYPES[one.kind]
        else:
            returns, parameters = re.fullmatch(r"(.*?)\(\*\)\((.*)\)", one.kind).groups()
        name = "generated_" + re.sub(r"\W+", "_", f"{returns} {parameters}").strip("_")
        unused = [read_parameter(part).name for part in split_parameters(parameters)] if parameters != "void" else []
        body = " ".join(f"(void){name};" for name in unused) + ("" if returns.strip() == "void" else " return 0;")
        text = f"static {returns.strip()} {name}({parameters}) {{ {body} }}"
        if text not in self.callbacks:
            self.callbacks.append(text)
        return name

    def written(self):
        self.callbacks = []
        calls = [one for one in self.header.functions if one.returns == "int32_t"]
        parts = []

        def part(name, comment, body):
            self.out = []
            for function in calls:
                body(function)
            parts.append("\n".join([f"\n/* {comment} */", f"static void {name}(const generated_good *good) {{", "  (void)good;", *self.out, "}"]))

        def null(function):
            for one in function.parameters:
                if not one.is_pointer:
                    continue
                length = function.length_of(one)
                bad = {one.name: "NULL"} | ({length.name: "5"} if length else {})
                if function.allows_null(one):
                    expected = "generated_may_pass"
                    if one.name == "error":
                        bad = {one.name: "NULL"} | {
                            other.name: "NULL" for other in function.parameters if other.name.startswith("out_")
                        }
                else:
                    expected = "generated_null"
                self.block(function, bad, expected)

        def sizes(function):
            for one in function.parameters:
                if not one.is_pointer or one.is_function or one.pointee not in self.header.sized or one.name == "error":
                    continue
                self.out.append(f"  for (size = 0; size <= 64 || size <= sizeof({one.pointee}) + 64; size++) {{")
                place = f"({one.kind})generated_sized(size)"
                after = "generated_rest(size);"
                if one.pointee == "corelane_text":
                    after += " (void)corelane_text_free((corelane_text *)(void *)sized.bytes);"
                self.block(function, {one.name: place}, "generated_size", after=after)
                self.out.append("  }")

        def utf8(function):
            for one in function.parameters:
                if function.is_text(one):
                    bad = {one.name: '"\\xff"', function.length_of(one).name: "1"}
                    self.block(function, bad, "generated_invalid")

        def stale(function):
            first = function.parameters[0] if function.parameters else None
            if first and not first.is_pointer and first.plain in self.header.handles:
                for value in ("0", "UINT64_MAX", f"good->{first.plain}.value + (UINT64_C(7) << 32)"):
                    # An array of texts, or an input struct in which nothing is set, may be refused before the handle is looked at.
                    inputs = [one for one in function.parameters if one.kind.startswith("const ") and not function.is_text(one)]
                    early = any(one.pointee in self.header.sized or one.pointee.endswith("*") for one in inputs)
                    expected = "generated_stale_or_null" if early else "generated_stale"
                    self.block(function, {first.name: f"({first.plain}){{{value}}}"}, expected)

        def busy(function):
            first = function.parameters[0] if function.parameters else None
            if "CORELANE_BUSY" in function.statuses and first.plain == "corelane_port":
                expected = "generated_busy_or_state" if "CORELANE_STATE" in function.statuses else "generated_busy"
                self.block(function, {}, expected)

        def owner(function):
            if "any thread" not in function.doc.split("\n")[-1].lower():
                busy(function)

        def forked(function):
            self.block(function, {}, "generated_forked")

        part("generated_nulls", "NULL in every pointer position.", null)
        part("generated_sizes", "Structs of every size: nothing is written behind them.", sizes)
        parts[-1] = parts[-1].replace("{\n", "{\n  size_t size;\n", 1)
        part("generated_not_utf8", "Texts that are not UTF-8.", utf8)
        part("generated_stales", "Handles that are not valid.", stale)
        part("generated_busies", "The calls of a port's owner, while another thread waits with the port.", busy)
        part("generated_owner_busies", "Those of them that have one owner on a shared port too.", owner)
        part("generated_in_child", "Every call in a child of fork.", forked)
        handles = "".join(f"  {one} {one};\n" for one in self.header.handles)
        named = "/* Written by ffi-tests/header.py. Included by ffi-tests/c/calls.c, which defines the checks. */\n"
        return "\n".join([named, f"struct generated_good {{\n{handles}}};\n", *self.callbacks, *parts]) + "\n"


def freeze():
    with open(HEADER, encoding="utf-8") as file:
        lines = [line.rstrip() for line in re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S).splitlines()]
    kept = [re.sub(r" *//.*$", "", line) for line in lines if line and not line.lstrip().startswith("//")]
    about = "/* The header of an earlier day, without its comments: written by `ffi-tests/header.py --freeze`. */\n"
    with open(FROZEN, "w", encoding="utf-8") as file:
        file.write(about + "\n".join(kept) + "\n")


def compare(today, frozen):
    """What of the frozen header is not in today's."""
    wrong = []
    for name, value in frozen.constants.items():
        if today.constants.get(name) != value and not name.startswith("CORELANE_VERSION_"):
            wrong.append(f"{name} was {value}, is {today.constants.get(name)}")
    for name, fields in frozen.structs.items():
        now = today.structs.get(name, [])
        grows = name in today.sized
        if now[: len(fields)] != fields or (not grows and now != fields):
            wrong.append(f"{name} has changed: add fields only at the end of a struct that begins with its size")
    for function in frozen.functions:
        now = today.by_name.get(function.name)
        if now is None or (now.returns, [one.kind for one in now.parameters]) != (
            function.returns,
            [one.kind for one in function.parameters],
        ):
            wrong.append(f"{function.name} has changed: add a function of another name")
    return wrong


def inits(header):
    out = ["/* Written by ffi-tests/header.py: every INIT macro. */", '#include "corelane.h"\n']
    for name in header.inits:
        kind = name.removesuffix("_INIT").lower()
        out.append(f"{kind} make_{kind}(void);\n{kind} make_{kind}(void) {{\n  {kind} made = {name};\n  return made;\n}}\n")
    out.append("uint32_t version(void);\nuint32_t version(void) { return CORELANE_VERSION_NUMBER; }")
    return "\n".join(out) + "\n"


def main(folder):
    header = Header()
    wrong = compare(header, Header(FROZEN))
    if wrong:
        sys.exit("corelane.h has lost what frozen.h has:\n" + "\n".join(wrong))
    files = {
        "recorded.c": recorded(header),
        "wrap.txt": "".join(f"-Wl,--wrap={one.name}\n" for one in header.functions),
        "generated.h": Calls(header).written(),
        "inits.c": inits(header),
    }
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    freeze() if sys.argv[1] == "--freeze" else main(sys.argv[1])
