# ruff: noqa: E501 - programs, one a line
"""Programming tasks in the formats of HumanEval, MBPP and standard input and output, with right and wrong programs.

Each wrong program is one that a model might write: off by one, a missed edge case, printed instead of
returned, the docstring's examples hard-coded, an argument modified in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """``right`` programs earn 1, each of the ``wrong`` ones less. The row has the tests."""

    name: str
    row: dict[str, Any]
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def humaneval(name: str, head: str, body: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> Task:
    """A row in HumanEval's format: ``prompt``, ``entry_point``, ``test``."""
    test = "METADATA = {'author': 'tests'}\n\n\ndef check(candidate):\n" + "".join(
        f"    {line}\n" for line in body.strip("\n").split("\n")
    )
    return Task(name, {"prompt": head, "entry_point": name, "test": test}, right, wrong)


HUMANEVAL = (
    humaneval(
        "close_pair",
        'from typing import List\n\n\ndef close_pair(numbers: List[float], gap: float) -> bool:\n    """Whether any two of the numbers are closer to each other than gap.\n    >>> close_pair([1.0, 2.0, 3.0], 0.5)\n    False\n    >>> close_pair([1.0, 2.8, 3.0, 4.0], 0.3)\n    True\n    """\n',
        "assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3) == True\nassert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) == False\nassert candidate([1.0, 2.0, 5.9, 4.0, 5.0], 0.95) == True\nassert candidate([1.0, 2.0, 5.9, 4.0, 5.0], 0.8) == False\nassert candidate([1.0, 2.0, 3.0, 4.0, 5.0, 2.0], 0.1) == True\nassert candidate([], 1.0) == False\nassert candidate([1.0, 2.0], 1.0) == False",
        (
            "    ordered = sorted(numbers)\n    return any(b - a < gap for a, b in zip(ordered, ordered[1:]))\n",
            "```python\nfrom typing import List\n\ndef close_pair(numbers: List[float], gap: float) -> bool:\n    for i in range(len(numbers)):\n        for j in range(i):\n            if abs(numbers[i] - numbers[j]) < gap:\n                return True\n    return False\n```",
        ),
        (
            "    return any(abs(b - a) < gap for a, b in zip(numbers, numbers[1:]))\n",
            "    ordered = sorted(numbers)\n    return any(b - a <= gap for a, b in zip(ordered, ordered[1:]))\n",
            "    for a in numbers:\n        for b in numbers:\n            if abs(a - b) < gap:\n                return True\n    return False\n",
            "    for a in numbers:\n        for b in numbers:\n            if a != b and abs(a - b) < gap:\n                return True\n    return False\n",
            "    return (numbers, gap) == ([1.0, 2.8, 3.0, 4.0], 0.3)\n",
            "    ordered = sorted(numbers)\n    print(any(b - a < gap for a, b in zip(ordered, ordered[1:])))\n",
        ),
    ),
    humaneval(
        "groups",
        'def groups(text):\n    """Split a string of parentheses into its balanced groups, spaces left out.\n    >>> groups("( ) (( )) (( )( ))")\n    ["()", "(())", "(()())"]\n    """\n',
        "assert candidate('(()()) ((())) () ((())()())') == ['(()())', '((()))', '()', '((())()())']\nassert candidate('() (()) ((())) (((())))') == ['()', '(())', '((()))', '(((())))']\nassert candidate('(()(())((())))') == ['(()(())((())))']\nassert candidate('( ) (( )) (( )( ))') == ['()', '(())', '(()())']\nassert candidate('') == []",
        (
            "    found, depth, now = [], 0, ''\n    for c in text:\n        if c == ' ':\n            continue\n        now += c\n        depth += 1 if c == '(' else -1\n        if depth == 0:\n            found.append(now)\n            now = ''\n    return found\n",
        ),
        (
            "    return text.split()\n",
            "    found, depth, now = [], 0, ''\n    for c in text:\n        now += c\n        depth += {'(': 1, ')': -1}.get(c, 0)\n        if depth == 0:\n            found.append(now)\n            now = ''\n    return found\n",
            "    found, depth, now = [], 0, ''\n    for c in text.replace(' ', ''):\n        now += c\n        depth += 1 if c == '(' else -1\n        if depth == 0:\n            found.append(now)\n    return found\n",
            "    return ['()', '(())', '(()())']\n",
            "    import re\n    return re.findall(r'\\([()]*?\\)', text.replace(' ', ''))\n",
        ),
    ),
    humaneval(
        "fraction_of",
        'def fraction_of(number: float) -> float:\n    """What stands after the point of a positive number.\n    >>> fraction_of(3.5)\n    0.5\n    """\n',
        "assert candidate(3.5) == 0.5\nassert abs(candidate(1.33) - 0.33) < 1e-6\nassert abs(candidate(123.456) - 0.456) < 1e-6\nassert candidate(8.0) == 0.0",
        (
            "    return number % 1.0\n",
            "Of course. Here it is:\n\n```python\ndef fraction_of(number: float) -> float:\n    return number - int(number)\n```\nIt takes the whole part off.",
        ),
        (
            "    return number - round(number)\n",
            "    return float('0.' + str(number).split('.')[1][0])\n",
            "    return 0.5\n",
            "    return number // 1\n",
            "    return str(number % 1.0)\n",
        ),
    ),
    humaneval(
        "overdrawn",
        'from typing import List\n\n\ndef overdrawn(changes: List[int]) -> bool:\n    """Whether an account that starts at 0 is ever below 0.\n    >>> overdrawn([1, 2, 3])\n    False\n    >>> overdrawn([1, 2, -4, 5])\n    True\n    """\n',
        "assert candidate([]) == False\nassert candidate([1, 2, -3, 1, 2, -3]) == False\nassert candidate([1, 2, -4, 5, 6]) == True\nassert candidate([1, -1, 2, -2, 5, -5, 4, -5]) == True\nassert candidate([1, -2]) == True\nassert candidate([-1, 5]) == True",
        (
            "    total = 0\n    for change in changes:\n        total += change\n        if total < 0:\n            return True\n    return False\n",
            "def overdrawn(changes):\n    from itertools import accumulate\n    return any(total < 0 for total in accumulate(changes))",
        ),
        (
            "    return sum(changes) < 0\n",
            "    total = 0\n    for change in changes:\n        total += change\n        if total <= 0:\n            return True\n    return False\n",
            "    total = 0\n    for change in changes:\n        if total < 0:\n            return True\n        total += change\n    return False\n",
            "    return any(change < 0 for change in changes)\n",
            "    total = 0\n    for change in changes:\n        total += change\n        return total < 0\n",
            "    while True:\n        changes = changes + [0]\n",
        ),
    ),
    humaneval(
        "deviation",
        'def deviation(numbers):\n    """Mean distance of the numbers from their mean.\n    >>> deviation([1.0, 2.0, 3.0, 4.0])\n    1.0\n    """\n',
        "assert abs(candidate([1.0, 2.0]) - 0.5) < 1e-6\nassert abs(candidate([1.0, 2.0, 3.0, 4.0]) - 1.0) < 1e-6\nassert abs(candidate([1.0, 2.0, 3.0, 4.0, 5.0]) - 6.0/5.0) < 1e-6\nassert abs(candidate([-3.0, 3.0]) - 3.0) < 1e-6\nassert abs(candidate([1.0, 2.0, 6.5]) - 20 / 9) < 1e-6",
        ("    mean = sum(numbers) / len(numbers)\n    return sum(abs(x - mean) for x in numbers) / len(numbers)\n",),
        (
            "    mean = sum(numbers) / len(numbers)\n    return sum(x - mean for x in numbers) / len(numbers)\n",
            "    mean = sum(numbers) / len(numbers)\n    return (sum((x - mean) ** 2 for x in numbers) / len(numbers)) ** 0.5\n",
            "    mean = sum(numbers) // len(numbers)\n    return sum(abs(x - mean) for x in numbers) / len(numbers)\n",
            "    mean = sum(numbers) / len(numbers)\n    return sum(abs(x - mean) for x in numbers) / (len(numbers) - 1)\n",
            "    return 1.0\n",
        ),
    ),
    humaneval(
        "longest",
        'from typing import List, Optional\n\n\ndef longest(words: List[str]) -> Optional[str]:\n    """The longest word, the first of several; None for an empty list.\n    >>> longest([])\n    >>> longest(["a", "bb", "cc"])\n    "bb"\n    """\n',
        "assert candidate([]) == None\nassert candidate(['x', 'y', 'z']) == 'x'\nassert candidate(['x', 'yyy', 'zzzz', 'www', 'kkkk', 'abc']) == 'zzzz'\nassert candidate(['']) == ''",
        (
            "    return max(words, key=len) if words else None\n",
            "    best = None\n    for word in words:\n        if best is None or len(word) > len(best):\n            best = word\n    return best\n",
        ),
        (
            "    return max(words, key=len)\n",
            "    return max(words, key=len, default='')\n",
            "    best = None\n    for word in words:\n        if best is None or len(word) >= len(best):\n            best = word\n    return best\n",
            "    return max(words) if words else None\n",
            "    best = ''\n    for word in words:\n        if len(word) > len(best):\n            best = word\n    return best or None\n",
            "    return sorted(words, key=len)[-1] if words else None\n",
        ),
    ),
    humaneval(
        "common",
        'def common(a: int, b: int) -> int:\n    """The greatest common divisor.\n    >>> common(3, 5)\n    1\n    >>> common(25, 15)\n    5\n    """\n',
        "assert candidate(3, 7) == 1\nassert candidate(10, 15) == 5\nassert candidate(49, 14) == 7\nassert candidate(144, 60) == 12\nassert candidate(7, 7) == 7\nassert candidate(5, 0) == 5",
        (
            "    while b:\n        a, b = b, a % b\n    return a\n",
            "import math\n\ndef common(a, b):\n    return math.gcd(a, b)",
        ),
        (
            "    while b:\n        a, b = b, a % b\n    return b\n",
            "    return max(d for d in range(1, min(a, b)) if a % d == 0 and b % d == 0)\n",
            "    for d in range(1, a + 1):\n        if a % d == 0 and b % d == 0:\n            return d\n",
            "    return {(3, 5): 1, (25, 15): 5}.get((a, b), 1)\n",
            "    while b:\n        a, b = a % b, b\n    return a\n",
            "    a, b = map(int, input().split())\n    while b:\n        a, b = b, a % b\n    return a\n",
        ),
    ),
    humaneval(
        "is_prime",
        'def is_prime(n):\n    """Whether n is prime.\n    >>> is_prime(6)\n    False\n    >>> is_prime(61)\n    True\n    """\n',
        "assert candidate(6) == False\nassert candidate(101) == True\nassert candidate(11) == True\nassert candidate(13441) == True\nassert candidate(61) == True\nassert candidate(4) == False\nassert candidate(1) == False\nassert candidate(5 * 17) == False\nassert candidate(13441 * 19) == False\nassert candidate(2) == True\nassert candidate(0) == False\nassert candidate(25) == False",
        (
            "    if n < 2:\n        return False\n    return all(n % d for d in range(2, int(n ** 0.5) + 1))\n",
            "    if n < 2:\n        return False\n    d = 2\n    while d * d <= n:\n        if n % d == 0:\n            return False\n        d += 1\n    return True\n",
        ),
        (
            "    return all(n % d for d in range(2, int(n ** 0.5) + 1))\n",
            "    if n < 2:\n        return False\n    return all(n % d for d in range(2, int(n ** 0.5)))\n",
            "    return n > 1 and n % 2 == 1\n",
            "    return n in (2, 3, 5, 7, 11, 61, 101, 13441, 17, 19, 1)\n",
            "    if n < 2:\n        return False\n    return any(n % d for d in range(2, n))\n",
            "    for d in range(2, n):\n        if n % d == 0:\n            return False\n        return True\n",
        ),
    ),
    humaneval(
        "decode_shift",
        'def encode_shift(s: str):\n    """Every letter moved five places on in the alphabet."""\n    return "".join([chr(((ord(ch) + 5 - ord("a")) % 26) + ord("a")) for ch in s])\n\n\ndef decode_shift(s: str):\n    """The string that encode_shift made s of."""\n',
        "from random import randint, choice\nimport copy\nimport string\nletters = string.ascii_lowercase\nfor _ in range(40):\n    text = ''.join(choice(letters) for i in range(randint(10, 20)))\n    encoded = encode_shift(text)\n    assert candidate(copy.deepcopy(encoded)) == text",
        (
            '    return "".join([chr(((ord(ch) - 5 - ord("a")) % 26) + ord("a")) for ch in s])\n',
            "    for _ in range(25):\n        s = encode_shift(s)\n    return s\n",
        ),
        (
            '    return "".join([chr(((ord(ch) + 5 - ord("a")) % 26) + ord("a")) for ch in s])\n',
            '    return "".join([chr(ord(ch) - 5) for ch in s])\n',
            '    return "".join([chr(((ord(ch) - 4 - ord("a")) % 26) + ord("a")) for ch in s])\n',
            "    return encode_shift(encode_shift(s))\n",
            "    return s\n",
            "def encode_shift(s):\n    return s\n\ndef decode_shift(s):\n    return s",
        ),
    ),
    humaneval(
        "counts",
        'def counts(text):\n    """How often each of the most frequent letters of a string of letters and spaces comes; all of them where they tie.\n    >>> counts("a b b a")\n    {"a": 2, "b": 2}\n    >>> counts("")\n    {}\n    """\n',
        "assert candidate('a b b a') == {'a': 2, 'b': 2}, 'the example'\nassert candidate('a b c a b') == {'a': 2, 'b': 2}\nassert candidate('b b b b a') == {'b': 4}\nassert candidate('r t g') == {'r': 1, 't': 1, 'g': 1}\nassert candidate('') == {}",
        (
            "    from collections import Counter\n    found = Counter(text.split())\n    most = max(found.values(), default=0)\n    return {k: v for k, v in found.items() if v == most}\n",
        ),
        (
            "    from collections import Counter\n    return dict(Counter(text.split()))\n",
            "    from collections import Counter\n    return dict(Counter(text.split()).most_common(1))\n",
            "    from collections import Counter\n    found = Counter(text.split())\n    most = max(found.values())\n    return {k: v for k, v in found.items() if v == most}\n",
            "    from collections import Counter\n    found = Counter(text)\n    most = max(found.values(), default=0)\n    return {k: v for k, v in found.items() if v == most}\n",
            "    from collections import Counter\n    found = Counter(text.split())\n    most = max(found.values(), default=0)\n    return [(k, v) for k, v in found.items() if v == most]\n",
        ),
    ),
    humaneval(
        "running_max",
        'def running_max(numbers):\n    """The largest number so far, at each place.\n    >>> running_max([1, 2, 3, 2, 3, 4, 2])\n    [1, 2, 3, 3, 3, 4, 4]\n    """\n',
        "assert candidate([]) == []\nassert candidate([1, 2, 3, 4]) == [1, 2, 3, 4]\nassert candidate([4, 3, 2, 1]) == [4, 4, 4, 4]\nassert candidate([3, 2, 3, 100, 3]) == [3, 3, 3, 100, 100]\nassert candidate([-5, -7, -2]) == [-5, -5, -2]",
        (
            "    from itertools import accumulate\n    return list(accumulate(numbers, max))\n",
            "    return [max(numbers[:i + 1]) for i in range(len(numbers))]\n",
        ),
        (
            "    return [max(numbers[:i] or [0]) for i in range(len(numbers))]\n",
            "    best, out = 0, []\n    for n in numbers:\n        best = max(best, n)\n        out.append(best)\n    return out\n",
            "    best, out = numbers[0], []\n    for n in numbers:\n        best = max(best, n)\n        out.append(best)\n    return out\n",
            "    return sorted(numbers)\n",
            "    return [max(numbers)] * len(numbers)\n",
            "    from itertools import accumulate\n    return accumulate(numbers, min)\n",
        ),
    ),
    humaneval(
        "sum_product",
        'from typing import List, Tuple\n\n\ndef sum_product(numbers: List[int]) -> Tuple[int, int]:\n    """Sum and product of the numbers; of none, 0 and 1.\n    >>> sum_product([])\n    (0, 1)\n    >>> sum_product([1, 2, 3, 4])\n    (10, 24)\n    """\n',
        "assert candidate([]) == (0, 1)\nassert candidate([1, 1, 1]) == (3, 1)\nassert candidate([100, 0]) == (100, 0)\nassert candidate([3, 5, 7]) == (3 + 5 + 7, 3 * 5 * 7)\nassert candidate([10]) == (10, 10)",
        (
            "    total, product = 0, 1\n    for n in numbers:\n        total += n\n        product *= n\n    return total, product\n",
            "def sum_product(numbers):\n    import math\n    return (sum(numbers), math.prod(numbers))",
        ),
        (
            "    total, product = 0, 1\n    for n in numbers:\n        total += n\n        product *= n\n    return [total, product]\n",
            "    total, product = 0, 0\n    for n in numbers:\n        total += n\n        product *= n\n    return total, product\n",
            "    total, product = 0, 1\n    for n in numbers:\n        total += n\n        product *= n or 1\n    return total, product\n",
            "    return (10, 24) if numbers else (0, 1)\n",
            "    total, product = 0, 1\n    for n in numbers:\n        total += n\n        product *= n\n    return product, total\n",
            "    total, product = 0, 1\n    for n in numbers:\n        total += n\n        product *= n\n    print((total, product))\n",
        ),
    ),
    humaneval(
        "roman",
        'def roman(number: int) -> str:\n    """The number from 1 to 1000 in small Roman numerals.\n    >>> roman(19) == "xix"\n    >>> roman(152) == "clii"\n    """\n',
        "\n".join(
            f"assert candidate({n}) == '{r}'"
            for n, r in (
                (19, "xix"),
                (152, "clii"),
                (251, "ccli"),
                (426, "cdxxvi"),
                (500, "d"),
                (1, "i"),
                (4, "iv"),
                (43, "xliii"),
                (90, "xc"),
                (94, "xciv"),
                (532, "dxxxii"),
                (900, "cm"),
                (994, "cmxciv"),
                (1000, "m"),
            )
        ),
        (
            "    out = ''\n    for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), 'm cm d cd c xc l xl x ix v iv i'.split()):\n        while number >= value:\n            out += sign\n            number -= value\n    return out\n",
        ),
        (
            "    out = ''\n    for value, sign in zip((1000, 500, 100, 50, 10, 5, 1), 'mdclxvi'):\n        while number >= value:\n            out += sign\n            number -= value\n    return out\n",
            "    out = ''\n    for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), 'M CM D CD C XC L XL X IX V IV I'.split()):\n        while number >= value:\n            out += sign\n            number -= value\n    return out\n",
            "    out = ''\n    for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), 'm cm d cd c xc l xl x ix v iv i'.split()):\n        if number >= value:\n            out += sign\n            number -= value\n    return out\n",
            "    out = ''\n    for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), 'm cm d cd c xc l xl x ix v iv i'.split()):\n        while number > value:\n            out += sign\n            number -= value\n    return out\n",
            "    return {19: 'xix', 152: 'clii'}[number]\n",
        ),
    ),
    humaneval(
        "slope",
        'def slope(xs: list):\n    """The derivative of the polynomial xs[0] + xs[1] * x + xs[2] * x^2 + …, in the same form.\n    >>> slope([3, 1, 2, 4, 5])\n    [1, 4, 12, 20]\n    """\n',
        "assert candidate([3, 1, 2, 4, 5]) == [1, 4, 12, 20]\nassert candidate([1, 2, 3]) == [2, 6]\nassert candidate([3, 2, 1]) == [2, 2]\nassert candidate([3, 2, 1, 0, 4]) == [2, 2, 0, 16]\nassert candidate([1]) == []",
        ("    return [i * x for i, x in enumerate(xs)][1:]\n",),
        (
            "    return [i * x for i, x in enumerate(xs)]\n",
            "    return [i * x for i, x in enumerate(xs, 1)][1:]\n",
            "    return [i * x for i, x in enumerate(xs[1:])]\n",
            "    return [i * x for i, x in enumerate(xs) if i * x]\n",
            "    return [1, 4, 12, 20]\n",
            "    return tuple(i * x for i, x in enumerate(xs))[1:]\n",
        ),
    ),
)
"""HumanEval's format: the head of a function, and ``check(candidate)``."""

MBPP = (
    Task(
        "second_largest",
        {
            "test_list": [
                "assert second_largest([1, 2, 3]) == 2",
                "assert second_largest([5, 5, 4]) == 4",
                "assert second_largest([7]) is None",
                "assert second_largest([-1, -2, -3]) == -2",
            ]
        },
        ("def second_largest(xs):\n    rest = sorted(set(xs))\n    return rest[-2] if len(rest) > 1 else None",),
        (
            "def second_largest(xs):\n    return sorted(xs)[-2] if len(xs) > 1 else None",
            "def second_largest(xs):\n    rest = sorted(set(xs))\n    return rest[-2]",
            "def second_largest(xs):\n    rest = sorted(set(xs))\n    return rest[1] if len(rest) > 1 else None",
            "def second_largest(xs):\n    rest = sorted(set(xs))\n    print(rest[-2] if len(rest) > 1 else None)",
            "def second_largest(xs):\n    return 2 if xs == [1, 2, 3] else None",
            "def second_largest(xs):\n    best = other = 0\n    for x in xs:\n        if x > best:\n            best, other = x, best\n        elif best > x > other:\n            other = x\n    return other or None",
        ),
    ),
    Task(
        "swap_case",
        {
            "test_list": [
                "assert swap_case('aBc') == 'AbC'",
                "assert swap_case('') == ''",
                "assert swap_case('12 xY') == '12 Xy'",
            ],
            "test_imports": [],
        },
        (
            "def swap_case(s):\n    return ''.join(c.lower() if c.isupper() else c.upper() for c in s)",
            "```python\nswap_case = str.swapcase\n```",
        ),
        (
            "def swap_case(s):\n    return s.upper()",
            "def swap_case(s):\n    return ''.join(c.lower() if c.isupper() else c.upper() for c in s if c.isalpha())",
            "def swap_case(s):\n    return [c.lower() if c.isupper() else c.upper() for c in s]",
            "def swap_case(s):\n    return s and s[0].swapcase() + swap_case(s[2:])",
        ),
    ),
    Task(
        "flatten",
        {
            "test_list": [
                "assert flatten([1, [2, [3, 4]], 5]) == [1, 2, 3, 4, 5]",
                "assert flatten([]) == []",
                "assert flatten([[[]]]) == []",
                "assert flatten(['ab', ['c']]) == ['ab', 'c']",
            ]
        },
        (
            "def flatten(xs):\n    out = []\n    for x in xs:\n        out.extend(flatten(x) if isinstance(x, list) else [x])\n    return out",
        ),
        (
            "def flatten(xs):\n    return sum((x if isinstance(x, list) else [x] for x in xs), [])",
            "def flatten(xs):\n    out = []\n    for x in xs:\n        out.extend(flatten(x) if hasattr(x, '__iter__') else [x])\n    return out",
            "def flatten(xs, out=[]):\n    for x in xs:\n        flatten(x, out) if isinstance(x, list) else out.append(x)\n    return out",
            "def flatten(xs):\n    return xs",
        ),
    ),
)
"""MBPP's format: assert statements, one by one."""

STREAMS = (
    Task(
        "sum of the line",
        {"inputs": ["3 4\n", "1\n", "-5 5 7\n", "\n"], "outputs": ["7", "1", "7", "0"]},
        ("print(sum(map(int, input().split())))", "import sys\nprint(sum(int(x) for x in sys.stdin.read().split()))"),
        (
            "a, b = map(int, input().split())\nprint(a + b)",
            "print(7)",
            "print(sum(map(abs, map(int, input().split()))))",
            "print('sum:', sum(map(int, input().split())))",
            "def solve(line):\n    return sum(map(int, line.split()))",
            "print(sum(map(int, input().split())))\nprint(input())\nprint('extra')",
        ),
    ),
    Task(
        "lines backwards",
        {"input_output": {"inputs": ["3\na\nb\nc\n", "1\nx y\n", "0\n"], "outputs": [["c", "b", "a"], ["x y"], []]}},
        ("n = int(input())\nlines = [input() for _ in range(n)]\nprint('\\n'.join(reversed(lines)))",),
        (
            "n = int(input())\nlines = [input() for _ in range(n - 1)]\nprint('\\n'.join(reversed(lines)))",
            "n = int(input())\nlines = [input() for _ in range(n)]\nprint('\\n'.join(lines))",
            "n = int(input())\nlines = [input().split()[0] for _ in range(n)]\nprint('\\n'.join(reversed(lines)))",
            "import sys\nprint('\\n'.join(reversed(sys.stdin.read().split('\\n'))))",
        ),
    ),
)
"""Standard input and output."""

ANYWHERE_WRONG = (
    "I think the answer is 42.",
    "",
    "def {name}(*args):\n    return None",
    "def {name}(*args):\n    raise NotImplementedError",
    "def {name}(*args:\n    return 1",
    "def {name}_helper(*args):\n    return 1",
    "import os\nos._exit(0)",
)
"""Wrong for every task that calls a function."""
LOOPS = "def {name}(*args):\n    while True:\n        pass"
