# ruff: noqa: E501 - programs, one a line
"""A thousand sandbox escape attempts, generated systematically.

``PROBES`` are expressions that must raise or reveal nothing of the host; many run in one process, each reporting its
result. ``LETHAL`` end or flood the process that runs them. ``LIES`` are wrong programs that try to be judged right.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent

_SECRET_PATHS = (
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/ssh",
    "/etc/resolv.conf",
    "/root/.bashrc",
    "/root/.ssh",
    "/home",
    "/var",
    "/var/log",
    "/var/lib",
    "/run",
    "/sys",
    "/sys/kernel",
    "/boot",
    "/mnt",
    "/media",
    "/opt",
    "/srv",
    "/proc/self/environ",
    "/proc/1/environ",
    "/proc/1/cmdline",
    "/proc/1/root",
    "/proc/self/mem",
    "/proc/self/maps",
    "/proc/self/fd",
    "/proc/meminfo",
    "/proc/kcore",
    "/proc/mounts",
    "/proc/net/tcp",
    "/proc/sys/kernel",
    "/proc/2/mem",
    "/proc/2/fd/1",
    "/proc/3/environ",
    "/dev/sda",
    "/dev/vda",
    "/dev/mem",
    "/dev/kmem",
    "/dev/kmsg",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/loop0",
    "/dev/ttyS0",
    "/dev/nvidia0",
    *(
        str(PROJECT / name)
        for name in (
            "core",
            "core/config/run_config.py",
            "core/rewards/__init__.py",
            "flask_app.py",
            "services",
            "secrets.json",
            ".env",
            "catalogue.db",
            "outputs",
            "exports",
            "uploads",
            "configs",
            "logs",
            "cache",
            ".git",
            ".git/config",
            "tests",
            "pyproject.toml",
            "README.md",
        )
    ),
)
_BOUND = tuple(os.path.realpath(path) for path in (sys.base_prefix, sysconfig.get_paths()["purelib"]))


def _empty_way(path: str) -> bool:
    """Whether it is not a parent folder of Python itself, which exists but is otherwise empty."""
    return not any(bound.startswith(f"{path}/") for bound in _BOUND)


_READERS = (
    "open({path!r}).read(1)",
    "os.open({path!r}, os.O_RDONLY)",
    "os.listdir({path!r})",
    "list(os.scandir({path!r}))",
    "libc_open({path!r})",
)
_WRITE_PLACES = (
    "/tmp/x",
    "/dev/shm/x",
    "/x",
    "/usr/x",
    "/var/tmp/x",
    "/sandbox/guest.py",
    "/sandbox/x",
    "/dev/x",
    "/run/x",
    "x",
)
_WRITERS = (
    "open({path!r}, 'w')",
    "open({path!r}, 'ab')",
    "open({path!r}, 'x')",
    "os.open({path!r}, os.O_CREAT | os.O_RDWR)",
    "os.mkdir({path!r})",
    "os.symlink('/', {path!r})",
    "os.mkfifo({path!r})",
    "os.mknod({path!r})",
    "os.link('/sandbox/guest.py', {path!r})",
    "os.rename('/sandbox/guest.py', {path!r})",
    "os.chmod({path!r}, 0o777)",
    "os.remove({path!r})",
    "os.truncate({path!r}, 0)",
)
_FAMILIES = range(46)
_KINDS = (1, 2, 3, 5)
_SIGNALS = (1, 2, 9, 11, 15, 19)
_TARGETS = ("os.getppid()", "1", "2", "-1", "0", "os.getpgrp()", "os.getpid()")
_STARTERS = (
    "os.fork()",
    "os.forkpty()",
    "os.system('true') and {}[1]",
    "os.popen('true').read()",
    "os.posix_spawn('/usr/bin/true', ['true'], {})",
    "os.execv('/usr/bin/true', ['true'])",
    "os.execve('/usr/bin/true', ['true'], {})",
    "__import__('subprocess').run(['true'])",
    "__import__('subprocess').check_output('id', shell=True)",
    "__import__('pty').spawn('true')",
    "__import__('multiprocessing').Process(target=int).start()",
    "__import__('multiprocessing').Pool(2)",
    "__import__('threading').Thread(target=int).start()",
    "__import__('_thread').start_new_thread(int, ())",
    "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit(int)",
    "__import__('concurrent.futures').futures.ProcessPoolExecutor().submit(int).result()",
    "__import__('asyncio').run(__import__('asyncio').create_subprocess_exec('true'))",
    "call(57)",
    "call(58)",
    "call(56, 17, 0, 0, 0, 0)",
    "call(435, 0, 0)",
)
# Signals, priorities and locks indirectly, with descriptors that a program already has.
_DETOURS = (
    *(
        f"fcntl.fcntl({fd}, {command}, {value})"
        for fd in (0, 1, 3, 4)
        for command, value in (
            (8, "ppid"),  # F_SETOWN
            (8, "-ppid"),
            (8, "1"),
            (8, "os.getpid()"),
            (10, "9"),  # F_SETSIG
            (15, "struct.pack('ii', 1, ppid)"),  # F_SETOWN_EX
            (4, "os.O_ASYNC"),  # F_SETFL
            (4, "os.O_ASYNC | os.O_NONBLOCK"),
            (1024, "0"),  # F_SETLEASE
            (1026, "1"),  # F_NOTIFY
            (1031, "1 << 20"),  # F_SETPIPE_SZ
            (1033, "0"),  # F_ADD_SEALS
            (5, "bytes(32)"),  # F_GETLK
            (37, "bytes(32)"),  # F_OFD_SETLK
        )
    ),
    *(
        f"fcntl.ioctl({fd}, {request:#x}, struct.pack('i', ppid))"
        for fd in (0, 1, 3, 4)
        for request in (0x5452, 0x8901, 0x8902, 0x5412, 0x541C, 0x540E, 0x5410, 0x40049409, 0xC0045877, 0x5423)
    ),
    *(
        f"fcntl.{lock}(os.open(os.__file__, os.O_RDONLY), fcntl.{kind})"
        for lock in ("flock", "lockf")
        for kind in ("LOCK_SH", "LOCK_EX", "LOCK_EX | fcntl.LOCK_NB", "LOCK_SH | fcntl.LOCK_NB")
    ),
    "os.open(os.__file__, os.O_RDONLY | os.O_ASYNC)",
    "os.open('/', os.O_TMPFILE | os.O_RDWR)",
    "os.sched_setparam(0, os.sched_param(0))",
    "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
    "os.sched_setscheduler(ppid, os.SCHED_BATCH, os.sched_param(0))",
    "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "os.setpriority(os.PRIO_PROCESS, ppid, 19)",
    "os.setpriority(os.PRIO_USER, 0, 19)",
    "os.nice(5)",
    *(f"call(314, {target}, one, 0)" for target in ("0", "ppid", "1")),  # sched_setattr
    *(f"call(251, 1, {target}, 3 << 13)" for target in ("0", "ppid", "1")),  # ioprio_set
    "call(251, 3, os.getuid(), 3 << 13)",
    *(f"time.clock_gettime((~{target} << 3) | {kind})" for target in ("ppid", "1") for kind in (2, 6)),
    "call(302, ppid, 7, 0, one)",
    "call(302, 1, 7, 0, one)",
    "call(157, 4, 1, 0, 0, 0)",  # PR_SET_DUMPABLE
    "call(157, 1, 9, 0, 0, 0)",  # PR_SET_PDEATHSIG
    "call(157, 36, 1, 0, 0, 0)",  # PR_SET_CHILD_SUBREAPER
    "call(157, 22, 2, one, 0, 0)",
    "mmap.mmap(-1, 2 << 20, flags=0x40022)",
    "os.fsync(os.open(os.__file__, os.O_RDONLY))",
    "os.posix_fadvise(os.open(os.__file__, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)",
    "os.pipe()",
    "os.eventfd(0)",
    "select.epoll()",
    "os.getpgid(ppid)",
    "os.getsid(ppid)",
    "os.wait()",
    "call(28, ctypes.addressof(one) & -4096, 4096, 100)",  # madvise: hardware poison
)
_REVIEWED = {
    *(
        0,
        1,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        17,
        19,
        20,
        21,
        23,
        24,
        25,
        28,
        32,
        33,
        34,
        35,
        36,
        37,
        38,
        39,
    ),
    *(60, 63, 72, 79, 89, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 111, 115, 118, 120, 127, 128, 130, 131, 186),
    *(201, 202, 204, 217, 218, 219, 228, 229, 230, 231, 262, 267, 269, 270, 271, 273, 292, 302, 309, 318, 332, 334),
    *(436, 439, 462),
    # The kernel lets calls of its own probes pass every filter, and kills any other program that makes them.
    *(335, 336),
}
"""The x86-64 call numbers that may be allowed, depending on their arguments."""
_OTHERS = (*(number for number in range(520) if number not in _REVIEWED), 1000, 0x3FFFFFFF, 0x40000000 | 39)

_LIMITS = tuple(
    f"__import__('resource').setrlimit({what}, ({value}, {value}))" for what in range(10) for value in (-1, 1 << 40)
)
_INNER = (
    # network, by names and by libraries
    "__import__('socket').create_connection(('127.0.0.1', 5000), 1)",
    "__import__('socket').create_connection(('1.1.1.1', 53), 1)",
    "__import__('socket').getaddrinfo('localhost', 80)[0] and __import__('socket').socket()",
    "__import__('urllib.request').request.urlopen('http://127.0.0.1:5000/healthz', timeout=1)",
    "__import__('http.client').client.HTTPConnection('127.0.0.1', 5000, timeout=1).connect()",
    "__import__('socket').socketpair()",
    "__import__('ftplib').FTP('127.0.0.1', timeout=1)",
    "__import__('smtplib').SMTP('127.0.0.1', timeout=1)",
    "__import__('ssl').create_default_context() and __import__('socket').socket()",
    "os.memfd_create('x')",
    "os.pidfd_open(os.getppid())",
    "os.setsid()",
    "os.setpgid(0, 0)",
    "os.chroot('/')",
    "os.nice(-5)",
    "os.setuid(0) or os.stat('/etc/passwd')",
    "os.sched_setaffinity(0, {0})",
    "os.sched_setscheduler(0, 1, os.sched_param(1))",
    "os.killpg(os.getppid(), 9)",
    "os.killpg(1, 9)",
    "__import__('signal').pthread_kill(__import__('threading').get_ident(), 9)",
    "__import__('signal').raise_signal(9)",
    "__import__('fcntl').ioctl(0, 0x5412, b'x')",
    "__import__('core.config')",
    "__import__('core')",
    "__import__('services')",
    "__import__('flask_app')",
    "os.environ['HF_TOKEN']",
    "os.environ['FLASK_SECRET_KEY']",
    "os.environ['TUNESMITH_TOKEN']",
    "os.environ['HOME']",
    "os.environ['PATH']",
    "os.environ['DATABASE_URL']",
    "os.environb[b'USER']",
    "os.getenv('TUNESMITH_HOME') or {}[1]",
    "os.getenv('SSH_AUTH_SOCK') or {}[1]",
    "os.getlogin()",
    "__import__('tempfile').mkdtemp()",
    "__import__('tempfile').TemporaryFile()",
    "__import__('sqlite3').connect('/tmp/x.db').execute('create table t(x)')",
    "__import__('shelve').open('/tmp/x')",
    "__import__('mmap').mmap(os.open('/usr/bin/env', os.O_RDWR), 0)",
    "__import__('webbrowser').open('http://x') or {}[1]",
    "__import__('os').getcwd() != '/' or {}[1]",
)
# By number, directly to the kernel: calls without a Python function (x86_64).
_CALLS = (
    *((101, request, "ppid") for request in (0, 1, 2, 3, 4, 5, 12, 16, 0x4206, 0x4200)),
    *((101, request, 1) for request in (16, 0x4206)),
    (310, "ppid", 0, 0, 0, 0, 0),
    (311, "ppid", 0, 0, 0, 0, 0),
    (310, 1, 0, 0, 0, 0, 0),
    (312, 1, 2, 0, 0, 0),
    (438, 3, 1, 0),
    (424, 3, 9, 0, 0),
    (434, 1, 0),
    (165, 0, 0, 0, 0, 0),
    (166, 0, 0),
    (155, 0, 0),
    (272, 0x10000000),
    (272, 0x20000),
    (272, 0x40000000),
    (308, 3, 0),
    (250, 0, 0),
    (248, 0, 0),
    (249, 0, 0),
    (321, 0, 0, 0),
    (298, 0, 0, 0, 0, 0),
    (425, 1, 0),
    (426, 3, 1, 1, 0, 0),
    (427, 3, 0, 0, 0),
    (323, 0),
    (175, 0, 0, 0),
    (313, 3, 0, 0),
    (176, 0, 0),
    (246, 0, 0, 0, 0),
    (320, 0, 0, 0, 0, 0),
    (169, 0, 0, 0),
    (167, 0, 0),
    (135, 0x40000),
    (179, 0, 0, 0, 0),
    (303, 0, 0, 0, 0, 0),
    (304, 0, 0, 0),
    (319, 0, 0),
    (447, 0),
    (29, 0, 4096, 0o1600),
    (68, 0, 0o1600),
    (64, 0, 1, 0o1600),
    (240, 0, 0o100, 0, 0),
    (103, 2, 0, 0),
    (163, 0),
    (164, 0, 0),
    (227, 0, 0),
    (159, 0),
    (170, 0, 0),
    (172, 3),
    (173, 0, 1, 1),
    (428, 0, 0, 0),
    (429, 0, 0, 0, 0, 0),
    (430, 0, 0),
    (431, 0, 0, 0, 0, 0),
    (432, 0, 0, 0),
    (433, 0, 0, 0),
    (442, 0, 0, 0, 0, 0),
    (437, 0, 0, 0, 0),
    (302, 0, 7, "one", 0),
    (302, "ppid", 7, "one", 0),
    (160, 7, "one"),
    (222, 0, 0, 0),
    (262 | 0x40000000, 0),
    (57 | 0x40000000,),
    (59 | 0x40000000, 0, 0, 0),
    (322, 0, 0, 0, 0, 0),
    (256, 0, 0, 0, 0),
    (279, "ppid", 0, 0, 0, 0, 0),
    (440, 3, 0, 0, 0, 0),
    (278, 1, 0, 0, 0),
    (300, 0, 0),
    (294, 0),
    (154, 1, 0, 0),
    (212, 0, 0, 0),
    (129, 1, 9, 0),
    (297, 1, 1, 9, 0),
    (200, 1, 9),
    (234, 1, 1, 9),
)

_READING: tuple[str, ...] = (
    *(reader.format(path=path) for path in _SECRET_PATHS if _empty_way(path) for reader in _READERS),
    "os.stat('/etc/shadow')",
    "os.readlink('/proc/self/exe')",
    "__import__('pathlib').Path('/').joinpath('etc/passwd').read_text()",
    "__import__('glob').glob('/home/*/.ssh')[0]",
    "os.readlink('/proc/1/cwd')",
    "os.path.expanduser('~root/.ssh/id_rsa') and open('/root/.ssh/id_rsa')",
    "__import__('glob').glob('/proc/*')[0]",
    "__import__('glob').glob('/var/*')[0]",
    "__import__('platform').node() == 'sandbox' and {}[1]",
    "__import__('pwd').getpwnam('root')",
    "__import__('grp').getgrnam('root')",
)
"""Reading the host: the weak level does not prevent it."""
ACTING: tuple[str, ...] = (
    *(writer.format(path=path) for path in _WRITE_PLACES for writer in _WRITERS),
    *(f"__import__('socket').socket({family}, {kind})" for family in _FAMILIES for kind in _KINDS),
    *(f"os.kill({target}, {number})" for target in _TARGETS for number in _SIGNALS),
    *_STARTERS,
    *_DETOURS,
    *(f"call({number}, 0, 0, 0, 0, 0, 0)" for number in _OTHERS),
    *_LIMITS,
    *_INNER,
    *(f"call({', '.join(str(part) for part in parts)})" for parts in _CALLS),
)
"""Outgoing access: every level blocks it."""
PROBES: tuple[str, ...] = (*_READING, *ACTING)

PROBE_PRELUDE = """
import ctypes, fcntl, mmap, os, select, struct, time
libc = ctypes.CDLL(None, use_errno=True)
ppid = os.getppid()
one = ctypes.create_string_buffer(16)
def must(what): return what
def call(number, *args):
    args = [ctypes.addressof(a) if hasattr(a, 'raw') else a for a in args]
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    if got < 0: raise OSError(ctypes.get_errno(), 'refused')
    return got
def libc_open(path):
    got = libc.open(path.encode(), 0)
    if got < 0: raise OSError(ctypes.get_errno(), 'refused')
    return got
for number, probe in enumerate(PROBES):
    try:
        got = eval(probe)
    except BaseException as error:
        continue
    print(number, repr(got)[:80], flush=True)
print('end', len(PROBES))
"""

_ENDINGS = (
    "import os\nos._exit(0)",
    "import os\nos._exit(7)",
    "import sys\nsys.exit('bye')",
    "raise SystemExit(1)",
    "quit_ = exit if 'exit' in dir() else None\nraise KeyboardInterrupt",
    "import ctypes\nctypes.string_at(0)",
    "import ctypes\nctypes.CDLL(None).abort()",
    "import ctypes\nctypes.memset(8, 1, 8)",
    "import os\nos.abort()",
    "import faulthandler\nfaulthandler._sigsegv()",
    "def f(x): return f(x)\nf(1)",
    "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x) + f(x)\nf(1)",
    "class A:\n def __getattr__(self, n): return getattr(self, n)\nA().x",
    "x = 'a'\nfor _ in range(99): x = x + x",
    "x = [0] * 10**11",
    "x = bytearray(1 << 40)",
    "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "x = {}\nwhile True: x[len(x)] = ' ' * 10**6",
    "print('x' * 10**9)",
    "while True: print('x' * 4096)",
    "import sys\nwhile True: sys.stdout.buffer.write(bytes(1 << 16))",
    "import os\nwhile True: os.write(1, bytes(1 << 16))",
    "import os\nwhile True: os.write(4, bytes(1 << 16))",
    "import os\nos.closerange(0, 100)",
    "import os\nos.close(3); os.close(4)",
    "import os\nos.write(4, b'\\xff\\xff\\xff\\xff')",
    "import os\nos.write(4, b'\\x05\\0\\0\\0{\"va')",
    "import os\nos.write(4, b'\\x02\\0\\0\\0[]')",
    "import os\nos.write(4, b'\\x04\\0\\0\\0null')",
    "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit",
    "import gc\ngc.collect()\n[setattr(o, 'x', 1) for o in gc.get_objects()]",
    "import sys\nsys.modules.clear()\nimport os",
    "import sys\nfor m in list(sys.modules): del sys.modules[m]\nimport json",
    "import builtins\nfor n in dir(builtins): setattr(builtins, n, None)",
    "import sys\nsys.settrace(lambda *a: 1/0)\nprint(1)",
    "import sys\nsys.stdout.close()\nsys.stderr.close()\nsys.stdin.close()",
    "9 ** 9 ** 9 ** 9",
    "'x' * (1 << 62)",
    "list(range(10 ** 12))",
    "int('9' * 10 ** 7)",
    "import re\nre.match('(a+)+b', 'a' * 40)",
    "while True: pass",
    "import time\ntime.sleep(99)",
    "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    "try:\n while True: pass\nexcept BaseException:\n while True: pass",
    "import select\nselect.select([], [], [], 99)",
    "import os\nwhile True: os.dup(0)",
    "import os\nwhile True: os.pipe()",
    "def g():\n while True:\n  try: yield\n  except BaseException: pass\nfor _ in g(): pass",
)
FORGING = """
import json, os, struct, sys
def send(message, **more):
    frame = sys._getframe()
    while frame and not isinstance(frame.f_locals.get('told'), dict): frame = frame.f_back
    of = (frame.f_locals.get('request') or frame.f_locals['told'])['number'] if frame else ''
    data = message if isinstance(message, bytes) else json.dumps({**message, 'of': of, **more} if isinstance(message, dict) else message).encode()
    os.write(4, struct.pack('<I', len(data)) + data)
"""
"""A prefix that lets a program write to the judge with the id of the current request."""
FORGED: tuple[str, ...] = (
    *(
        f"send({message})"
        for message in (
            "{'error': []}",
            "{'error': {}}",
            "{'error': None}",
            "{'error': 'x' * 10**6}",
            "['q']",
            "['i']",
            "[]",
            "7",
            "None",
            "'text'",
            "b'no json'",
            "b'\\xff\\xfe'",
            "b'[' * 100_000",
            "{}",
            "{'of': []}",
            *(
                f"{{'value': {value}}}"
                for value in (
                    "['q']",
                    "['i']",
                    "['i', 7]",
                    "['i', 'zz']",
                    "['f', []]",
                    "['d', [1]]",
                    "['d', [[['l', []], 1]]]",
                    "['s', [['l', []]]]",
                    "['o', 'x' * 5000, 1]",
                    "['o', -1, 'k']",
                    "['h', 0]",
                    "['c', 1]",
                    "['b', 'xyz']",
                    "['l', 5]",
                    "[[], 1]",
                    "[{}]",
                    "{'a': 1}",
                )
            ),
        )
    ),
    "os.write(4, b'\\xff\\xff\\xff\\xff')",
    "os.write(4, b'\\x05\\0\\0')",
)
"""Messages that no honest program sends."""
# A call of another architecture: mov eax, 20 (32-bit getpid); int 0x80; ret
OTHER_TABLE = """
import ctypes, mmap, platform
if platform.machine() != 'x86_64': raise SystemExit(1)
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex('b814000000cd80c3'))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
LETHAL: tuple[str, ...] = (
    *_ENDINGS,
    *(FORGING + forged for forged in FORGED),
    OTHER_TABLE,
    "import os, signal\nsignal.signal(signal.SIGALRM, lambda *a: os.write(4, b'\\xff' * 9))\nsignal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\nwhile True: pass",
)

_WRONG = "def add(a, b):\n    return a - b\n"
_TRICKS = (
    "import os\nos._exit(0)",
    "import sys\nsys.exit(0)",
    "raise SystemExit(0)",
    "import builtins\nbuiltins.AssertionError = Exception",
    "import builtins\nbuiltins.__build_class__ = None",
    "import builtins\nbuiltins.all = lambda *a: True\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 3",
    "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.sum = lambda *a: 0",
    "class Yes:\n def __eq__(s, o): return True\n def __ne__(s, o): return False\n def __hash__(s): return 0\n def __bool__(s): return True\ndef add(a, b): return Yes()",
    "class Yes(int):\n def __eq__(s, o): return True\n def __ne__(s, o): return False\n __hash__ = int.__hash__\ndef add(a, b): return Yes(0)",
    "class Yes(float):\n def __eq__(s, o): return True\n def __sub__(s, o): return 0\n __hash__ = float.__hash__\ndef add(a, b): return Yes(0)",
    "class Yes(str):\n def __eq__(s, o): return True\n __hash__ = str.__hash__\ndef add(a, b): return Yes('')",
    "class Yes(list):\n def __eq__(s, o): return True\ndef add(a, b): return Yes()",
    "class Yes(dict):\n def __eq__(s, o): return True\ndef add(a, b): return Yes()",
    "class Yes(tuple):\n def __eq__(s, o): return True\n __hash__ = tuple.__hash__\ndef add(a, b): return Yes()",
    "import unittest.mock\nadd = unittest.mock.ANY",
    "import unittest.mock\ndef add(a, b): return unittest.mock.ANY",
    "import unittest.mock\nadd = unittest.mock.MagicMock()",
    "add = type('F', (), {'__call__': lambda s, *a: s, '__eq__': lambda s, o: True})()",
    "def add(a, b): return float('nan')",
    "def add(a, b): return None",
    "def add(a, b): return NotImplemented",
    "def add(a, b): return True",
    "def add(*a): return add",
    "def add(a, b):\n import os\n os._exit(0)",
    "def add(a, b): raise SystemExit(0)",
    "def add(a, b):\n import sys\n sys.exit(0)",
    "def add(a, b): raise AssertionError",
    "def add(a, b): raise StopIteration",
    "def add(a, b): raise KeyboardInterrupt",
    "def add(a, b): raise GeneratorExit",
    "print('1 passed')\nprint('{\"passed\": 3, \"total\": 3}')",
    "import os, json, struct\nm = json.dumps({'passed': 3, 'total': 3}).encode()\nos.write(4, struct.pack('<I', len(m)) + m)",
    "import os, json, struct\nm = json.dumps({'passed': 3, 'total': 3}).encode()\nos.write(1, struct.pack('<I', len(m)) + m)",
    "import os\nfor fd in range(5, 200):\n try: os.write(fd, b'passed')\n except OSError: pass",
    "import os, json, struct\nm = json.dumps({'value': True}).encode()\nfor _ in range(9): os.write(4, struct.pack('<I', len(m)) + m)",
    "import sys\nsys.settrace(lambda *a: None)",
    "import sys\nf = sys._getframe()\nwhile f:\n f.f_globals['passed'] = 99\n f = f.f_back",
    "import sys\nf = sys._getframe()\nwhile f:\n f.f_locals['hidden'] = {}\n f.f_globals['judge_tests'] = lambda *a: {'passed': 3, 'total': 3}\n f = f.f_back",
    "import gc\nfor o in gc.get_objects():\n if isinstance(o, dict) and 'passed' in o: o['passed'] = 99",
    "import gc\ntests = [o for o in gc.get_objects() if isinstance(o, dict) and 'tests' in o]\nexpected = tests[0]['tests']",
    "import gc\nfound = [o for o in gc.get_objects() if type(o).__name__ == 'Candidate']\nfound[0].ended = None",
    "import __main__\n__main__.judge_tests = lambda *a: {'passed': 3, 'total': 3}",
    "import __main__\n__main__.write_frame = lambda *a: None",
    "import __main__\n__main__._guarded = lambda w: {'value': 3}",
    "import __main__\n__main__.pack = lambda *a: ['i', '0x3']",
    "import json\njson.dumps = lambda *a, **k: '{\"value\": 3}'",
    "import struct\nstruct.pack = lambda *a: b'\\0\\0\\0\\0'",
    "import ast\nast.parse = None",
    "import sys\nsys.excepthook = lambda *a: None",
    "import atexit\natexit.register(print, 'passed')",
    "__name__ = 'tests'",
    "__record__ = lambda *a: None",
    "check = lambda *a: None",
    "candidate = lambda *a: 3",
    "def __eq__(a, b): return True",
    "import operator\noperator.eq = lambda a, b: True",
    "import math\nmath.isclose = lambda *a, **k: True",
    "import warnings\nwarnings.simplefilter('ignore')",
    "import os\nos.kill(os.getppid(), 9)",
    "import os\nos.kill(os.getppid(), 19)",
    "import signal, os\nos.kill(0, signal.SIGALRM)",
    "open('/sandbox/guest.py', 'w').write('')",
    "import sys\nsys.argv.append('--pass')",
    "from threading import Thread\nThread(target=print).start()",
    "import ctypes\nctypes.pythonapi.Py_Exit(0)",
    "def add(a, b):\n add.n = getattr(add, 'n', 0) + 1\n return add.n",
)
LIES: tuple[str, ...] = tuple(
    f"{_WRONG}try:\n" + "".join(f"    {line}\n" for line in trick.splitlines()) + f"except {caught}:\n    pass\n"
    if wrapped
    else _WRONG + trick + "\n"
    for trick in _TRICKS
    for wrapped, caught in ((False, ""), (True, "Exception"))
)
"""Each trick plain, and once hiding its own failure, so that the wrong ``add`` remains."""

TOTAL = len(PROBES) + len(LETHAL) + len(LIES)

SEARCH = """
import ctypes, gc, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
libc.sbrk.argtypes = [ctypes.c_long]
shift = bytes((n + 13) % 256 for n in range(256))
gc.unfreeze()
def there(page): return libc.syscall(ctypes.c_long(NR), 99, ctypes.c_void_p(page), None, 8) < 0 and ctypes.get_errno() != 14
def region(page, step):
    while there(page):
        yield page
        page += step
def search(needle):  # shifted by 13, so that looking for it does not put it there
    seen, found = set(), []
    starts = {libc.sbrk(0) - 4096} | {id(one) & -4096 for one in gc.get_objects()}
    for start in starts:
        for step in (-4096, 4096):
            for page in region(start, step):
                if page in seen and page != start: break
                seen.add(page)
    for page in sorted(seen):
        if needle in ctypes.string_at(page, 4096).translate(shift): found.append(hex(page))
    frame, walked = sys._getframe(), 0
    while frame:
        walked += 1
        if needle in repr((frame.f_locals, list(frame.f_globals))).encode().translate(shift): found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found, len(seen), walked
""".replace("NR", "14" if platform.machine() == "x86_64" else "135")
"""``search(needle)``: where a program finds some bytes in its own memory, page by page and frame by frame."""


def shifted(text: str) -> bytes:
    """The bytes that :data:`SEARCH` looks for to find ``text``."""
    return bytes((n + 13) % 256 for n in text.encode())
