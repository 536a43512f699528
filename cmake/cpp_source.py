"""C++ by its tokens: enough to tell expressions, blocks, lambdas and declarations apart without types."""
import bisect
import re

NOT_A_DECLARATION = {"return", "co_return", "co_await", "co_yield", "if", "while", "for", "do", "switch", "case",
                     "throw", "delete", "using", "goto", "break", "continue", "else", "try", "catch", "static_assert",
                     "default", "static", "typedef", "struct", "class", "enum"}

NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^\s()\\]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F_])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*", re.S | re.M)
TOKEN = re.compile(r'[A-Za-z_]\w*|\d[\w.\']*|""|->|::|\S')
PAIRS = {"(": ")", "[": "]", "{": "}"}


def without_noise(text):
    """Comments and directives become blanks, literals become "", at unchanged offsets."""
    def blank(match):
        kept = re.sub(r"[^\n]", " ", match.group())
        return kept if match.group().lstrip()[0] in "/#" else '""' + kept[2:]
    return NOISE.sub(blank, text)


class Source:
    """The tokens of a file, with its brackets paired and its blocks told from its braced lists."""

    def __init__(self, text):
        text = without_noise(text)
        found = list(TOKEN.finditer(text))
        self.tokens = [match.group() for match in found]
        self.offsets = [match.start() for match in found]
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.match, self.parent, self.block = {}, [], {}
        open_brackets = []
        for i, token in enumerate(self.tokens):
            if token in PAIRS.values():
                while open_brackets:
                    start = open_brackets.pop()
                    if PAIRS[self.tokens[start]] == token:
                        self.match[start], self.match[i] = i, start
                        break
            self.parent.append(open_brackets[-1] if open_brackets else None)
            if token in PAIRS:
                if token == "{":
                    self.block[i] = self.is_block(i)
                open_brackets.append(i)
        for start in open_brackets:
            self.match.setdefault(start, len(self.tokens))

    def line(self, i):
        return bisect.bisect_left(self.newlines, self.offsets[i]) + 1

    def at(self, i):
        return self.tokens[i] if 0 <= i < len(self.tokens) else ""

    def is_block(self, i):
        before = self.at(i - 1)
        if before in {"", ")", "else", "do", "try", ";", "}", "mutable", "noexcept", "const", "override", "final", ":"}:
            return True
        if before == "{":
            return self.block[i - 1]
        if before == "]":  # a lambda without parameters, or new T[n]{...}
            return self.is_lambda(self.match.get(i - 1))
        # A trailing return type, or the head of a class, enum or namespace: look back for its beginning.
        depth = 0
        for j in range(i - 1, max(i - 60, -1), -1):
            token = self.at(j)
            if token in PAIRS.values():
                depth += 1
            elif token in PAIRS:
                depth -= 1
                if depth < 0:
                    return False
            elif depth == 0:
                if token == "->":
                    # `f() -> T {` opens a body; `p->member{...}` does not.
                    return self.at(j - 1) in {")", "]", "noexcept", "mutable", "const"}
                if token in {"struct", "class", "union", "enum", "namespace", "requires"}:
                    return True
                if token in {";", "=", "return", "co_return", "co_await"}:
                    return False
        return False

    def is_lambda(self, i):
        """Whether the [ at i introduces a lambda."""
        if i is None or self.at(i) != "[" or self.at(i + 1) == "[" or self.at(i - 1) == "[":
            return False
        before = self.at(i - 1)
        if before in {")", "]", '""'} or (re.match(r"\w", before) and
                                          before not in {"return", "co_return", "co_await", "co_yield", "case"}):
            return False
        return self.at(self.match.get(i, i) + 1) in {"(", "{", "<", "mutable", "->", "noexcept"}

    def full_expression(self, i):
        """First and last+1 token of what is evaluated together with token i; and the keyword whose condition it is."""
        start = i
        while True:
            parent = self.parent[start]
            if parent is None:
                inside = (0, len(self.tokens))
                break
            if self.at(parent) == "{" and self.block[parent]:
                inside = (parent + 1, self.match[parent])
                break
            if self.at(parent) == "(" and self.at(parent - 1) in {"if", "while", "for", "switch"}:
                inside = (parent + 1, self.match[parent])
                break
            start = parent
        keyword = self.at(inside[0] - 2) if self.at(inside[0] - 1) == "(" else ""
        begin, end = inside
        level = self.parent[start]
        for j in range(start - 1, inside[0] - 1, -1):
            if self.parent[j] == level and (self.at(j) == ";" or self.ends_statement(j)):
                begin = j + 1
                break
        for j in range(start, inside[1]):
            if self.parent[j] == level and self.at(j) == ";":
                end = j
                break
        return begin, end, keyword

    def ends_statement(self, close):
        """Whether this is the } of a block, and not of a lambda that the expression goes on after."""
        return (self.at(close) == "}" and self.block.get(self.match.get(close)) and
                self.at(close + 1) not in {")", ",", "(", ";", ".", "]"})

    def own_tokens(self, begin, end):
        """Indices in [begin, end) but not in the bodies of nested functions and lambdas."""
        i = begin
        while i < end:
            yield i
            if self.at(i) == "{" and self.block[i]:
                i = self.match[i]
            else:
                i += 1

    def type_before(self, brace):
        """The last name of the type in front of a braced list, its template arguments skipped; "" if there is none."""
        name = self.at(self.type_index(brace))
        return name if re.match(r"[A-Za-z_]", name) and name not in {"return", "co_return", "co_await"} else ""

    def is_std(self, brace):
        """Whether the type in front of a braced list is spelled std::..."""
        i = self.type_index(brace)
        while self.at(i - 1) == "::":
            i -= 2
        return self.at(i) == "std"

    def type_index(self, brace):
        i, depth = brace - 1, 0
        if self.at(i) == ">":
            while i >= 0:
                depth += {">": 1, "<": -1}.get(self.at(i), 0)
                i -= 1
                if depth == 0:
                    break
        return i

    def function_body(self, i):
        """The { of the outermost block of the function that token i is in."""
        body = None
        parent = self.parent[i]
        while parent is not None:
            if self.at(parent) == "{":
                if not self.block[parent]:
                    parent = self.parent[parent]
                    continue
                body = parent
                before = self.at(parent - 1)
                if before == ")":
                    opener = self.match.get(parent - 1, 0)
                    if self.at(opener - 1) not in {"if", "while", "for", "switch", "catch", "constexpr"}:
                        return body
                elif before not in {"else", "do", "try", ";", "{", "}", ":"}:
                    return body
            parent = self.parent[parent]
        return body

    def declares_local(self, body):
        """Whether a statement directly in the block is the declaration of a variable."""
        statement_start = True
        for i in range(body + 1, self.match[body]):
            if self.parent[i] != body:
                continue
            if statement_start and self.is_declaration(i):
                return True
            statement_start = self.at(i) in {";", "}"} or (self.at(i) == "{" and self.block[i])
        return False

    def members(self, body):
        """(last name of the type, or * or &; name) of every data member declared in the class body."""
        statement_start = True
        for i in range(body + 1, self.match[body]):
            if self.parent[i] != body:
                continue
            if statement_start and self.at(i) != "static" and self.is_declaration(i):
                declaration, depth = ["", ""], 0
                begin = i
                while self.at(begin) == "[":  # [[no_unique_address]]
                    begin = self.match[begin] + 1
                for j in range(begin, self.match[body]):
                    token = self.at(j)
                    if depth == 0 and token in {"=", ";", "(", "{", "["}:
                        if token != "(":
                            yield declaration[-2], declaration[-1]
                        break
                    depth += {"<": 1, ">": -1}.get(token, 0)
                    if depth == 0 and token not in {">", "const"}:
                        declaration.append(token)
            statement_start = self.at(i) in {";", "}", ":"} or (self.at(i) == "{" and self.block[i])

    def is_declaration(self, i):
        first = self.at(i)
        if first == "[" and self.at(i + 1) == "[":  # [[maybe_unused]]
            return self.is_declaration(self.match[i] + 1)
        if not re.match(r"[A-Za-z_]", first) or first in NOT_A_DECLARATION:
            return False
        if first == "auto" or (first == "const" and self.at(i + 1) == "auto"):
            return True
        # Type name, then the variable's: two names in a row, but for qualifiers, template arguments, * and &.
        depth, names, j = 0, 0, i
        while j < len(self.tokens):
            token = self.at(j)
            if token == "<":
                depth += 1
            elif token == ">":
                depth -= 1
            elif depth == 0:
                if re.match(r"[A-Za-z_]", token):
                    names += 0 if token == "const" or self.at(j - 1) == "::" else 1
                elif token in {"*", "&", "::"}:
                    pass
                else:
                    return names >= 2 and token in {"=", ";", "(", "{", "[", ","}
            elif token in {";", "{", "}"}:
                return False
            j += 1
        return False
