"""A team of native threads that start within a microsecond or two, and never need the interpreter.

Between jobs a thread first spins for a moment, then sleeps until it is woken. Its mailbox is all
that it shares with the caller: a ticket that counts the jobs posted, one that counts those done,
and what the job is. The code is LLVM's, so that no compiler is needed to install it.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import signal
import threading
import time

import numpy as np

from cubie.backend.cpu.object_code import ObjectCode, target_machine
from cubie.backend.run_queue import STOP_BYTES, RunQueue

BOX_BYTES = 512  # of a mailbox: cache lines of its own, room for any C library's mutex
ACTION_BYTES = 256  # room for any C library's struct sigaction
SPINS = 4000  # some 60 to 200 microseconds
PATIENCE_SECONDS = 1e-3  # between two looks whether the threads may be ended

# What a spinning thread tells its processor.
_X86_PAUSE = ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()")
_ARM_YIELD = ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)")
_PAUSE = {"x86_64": _X86_PAUSE, "aarch64": _ARM_YIELD, "arm64": _ARM_YIELD}

# A mailbox: ticket at 0, function at 8, argument at 16, done at 24, wakes at 32; the mutex at 64,
# the conditions "there is work" at 192 and "it is done" at 320.
_CODE = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @sigaction(i32, ptr, ptr)
{declaration}

@queue_of_main = internal global ptr null
@handler_before = internal global ptr null
@action_before = internal global [{action_bytes} x i8] zeroinitializer, align 16
@action_now = internal global [{action_bytes} x i8] zeroinitializer, align 16
@action_usual = internal global [{action_bytes} x i8] zeroinitializer, align 16

; Call the main thread's batch off, and do what would have been done.
define internal void @on_interrupt(i32 %signal) {{
entry:
  %queue = load atomic ptr, ptr @queue_of_main seq_cst, align 8
  %none = icmp eq ptr %queue, null
  br i1 %none, label %pass, label %stop
stop:
  %flag = getelementptr i8, ptr %queue, i64 {stop_bytes}
  store atomic i64 1, ptr %flag seq_cst, align 8
  br label %pass
pass:
  %before = load atomic ptr, ptr @handler_before seq_cst, align 8
  call void %before(i32 %signal)
  ret void
}}

; An action begins with its handler: the rest of it, which systems lay out as they like, is kept.
; Mostly it is the action of the latest time: the same one goes into its place with one call.
define internal void @listen(ptr %queue) {{
entry:
  store atomic ptr %queue, ptr @queue_of_main seq_cst, align 8
  %ours = load ptr, ptr @action_now
  %first = icmp eq ptr %ours, null
  %now = select i1 %first, ptr null, ptr @action_now
  call i32 @sigaction(i32 {interrupt}, ptr %now, ptr @action_before)
  %expected = load i{action_bits}, ptr @action_usual
  %found = load i{action_bits}, ptr @action_before
  %usual = icmp eq i{action_bits} %expected, %found
  br i1 %usual, label %listening, label %change
change:
  ; Where no function is called, but the system's own action is taken or none, that stays.
  %before = load ptr, ptr @action_before
  %number = ptrtoint ptr %before to i64
  %called = icmp ugt i64 %number, {last_action}
  br i1 %called, label %install, label %leave
leave:
  call i32 @sigaction(i32 {interrupt}, ptr @action_before, ptr null)
  ret void
install:
  call void @llvm.memcpy.p0.p0.i64(ptr @action_usual, ptr @action_before, i64 {action_bytes}, i1 0)
  call void @llvm.memcpy.p0.p0.i64(ptr @action_now, ptr @action_before, i64 {action_bytes}, i1 0)
  store atomic ptr %before, ptr @handler_before seq_cst, align 8
  store ptr @on_interrupt, ptr @action_now
  call i32 @sigaction(i32 {interrupt}, ptr @action_now, ptr null)
  ret void
listening:
  ret void
}}

define internal void @listen_no_more() {{
  call i32 @sigaction(i32 {interrupt}, ptr @action_before, ptr null)
  store atomic ptr null, ptr @queue_of_main seq_cst, align 8
  ret void
}}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; Wait for a number to change; false where it did not for a while.
define internal i1 @spin(ptr %number, i64 %old) {{
entry:
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %new = load atomic i64, ptr %number seq_cst, align 8
  %changed = icmp ne i64 %new, %old
  br i1 %changed, label %out, label %again
again:
  {pause}
  %next = add i64 %i, 1
  %patient = icmp ult i64 %next, {spins}
  br i1 %patient, label %look, label %out
out:
  ret i1 %changed
}}

define void @cubie_team_open(ptr %box) {{
  %mutex = getelementptr i8, ptr %box, i64 64
  %work = getelementptr i8, ptr %box, i64 192
  %finished = getelementptr i8, ptr %box, i64 320
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  call i32 @pthread_cond_init(ptr %work, ptr null)
  call i32 @pthread_cond_init(ptr %finished, ptr null)
  ret void
}}

; What a thread of the team does until it is given no function.
define void @cubie_team_serve(ptr %box) {{
entry:
  %function = getelementptr i8, ptr %box, i64 8
  %argument = getelementptr i8, ptr %box, i64 16
  %done = getelementptr i8, ptr %box, i64 24
  %wakes = getelementptr i8, ptr %box, i64 32
  %mutex = getelementptr i8, ptr %box, i64 64
  %work = getelementptr i8, ptr %box, i64 192
  %finished = getelementptr i8, ptr %box, i64 320
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %ticket, %tell ], [ %seen, %awake ]
  %woken = phi i64 [ 0, %entry ], [ %woken, %tell ], [ %now, %awake ]
  %early = call i1 @spin(ptr %box, i64 %seen)
  br i1 %early, label %take, label %lock
lock:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %check
check:
  %posted = load atomic i64, ptr %box seq_cst, align 8
  %new = icmp ne i64 %posted, %seen
  br i1 %new, label %unlock, label %listen
listen:
  %now = load atomic i64, ptr %wakes seq_cst, align 8
  %called = icmp ne i64 %now, %woken
  br i1 %called, label %awake, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %work, ptr %mutex)
  br label %check
awake:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %idle
unlock:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %take
take:
  %ticket = load atomic i64, ptr %box seq_cst, align 8
  %f = load ptr, ptr %function
  %none = icmp eq ptr %f, null
  br i1 %none, label %leave, label %run
run:
  %a = load ptr, ptr %argument
  call void %f(ptr %a)
  br label %tell
tell:
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 %ticket, ptr %done seq_cst, align 8
  call i32 @pthread_cond_signal(ptr %finished)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %idle
leave:
  ret void
}}

; Add one to a number of a mailbox, and call its thread if that sleeps.
define internal void @count(ptr %box, i64 %where) {{
  %number = getelementptr i8, ptr %box, i64 %where
  %mutex = getelementptr i8, ptr %box, i64 64
  %work = getelementptr i8, ptr %box, i64 192
  call i32 @pthread_mutex_lock(ptr %mutex)
  atomicrmw add ptr %number, i64 1 seq_cst
  call i32 @pthread_cond_signal(ptr %work)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}}

; A sleeping thread begins to spin: a job is about to be posted.
define void @cubie_team_wake(ptr %box) {{
  call void @count(ptr %box, i64 32)
  ret void
}}

define void @cubie_team_post(ptr %box, ptr %f, ptr %a) {{
  %function = getelementptr i8, ptr %box, i64 8
  %argument = getelementptr i8, ptr %box, i64 16
  store ptr %f, ptr %function
  store ptr %a, ptr %argument
  call void @count(ptr %box, i64 0)
  ret void
}}

define internal void @wait(ptr %box) {{
entry:
  %done = getelementptr i8, ptr %box, i64 24
  %mutex = getelementptr i8, ptr %box, i64 64
  %finished = getelementptr i8, ptr %box, i64 320
  %ticket = load atomic i64, ptr %box seq_cst, align 8
  %before = sub i64 %ticket, 1
  %early = call i1 @spin(ptr %done, i64 %before)
  br i1 %early, label %out, label %lock
lock:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %check
check:
  %number = load atomic i64, ptr %done seq_cst, align 8
  %finish = icmp eq i64 %number, %ticket
  br i1 %finish, label %unlock, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %finished, ptr %mutex)
  br label %check
unlock:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %out
out:
  ret void
}}

; Take the threads, for one job or for good: whether nobody else has them.
define i8 @cubie_team_take(ptr %taken) {{
  %pair = cmpxchg ptr %taken, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  %answer = zext i1 %mine to i8
  ret i8 %answer
}}

; Post a job to `n` threads, do the caller's part, and wait for all; do only that part where others
; have the threads. Ctrl-C calls off the queue of runs, where one is given.
define void @cubie_team_run(ptr %taken, ptr %boxes, i64 %most, ptr %f, ptr %args, ptr %queue) {{
entry:
  %got = call i8 @cubie_team_take(ptr %taken)
  %mine = trunc i8 %got to i1
  %n = select i1 %mine, i64 %most, i64 0
  %deaf = icmp eq ptr %queue, null
  br i1 %deaf, label %begin, label %open
open:
  call void @listen(ptr %queue)
  br label %begin
begin:
  br label %posts
posts:
  %i = phi i64 [ 0, %begin ], [ %i1, %post ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %post, label %own
post:
  %i1 = add i64 %i, 1
  %there = mul i64 %i, {box_bytes}
  %box = getelementptr i8, ptr %boxes, i64 %there
  %place = getelementptr ptr, ptr %args, i64 %i1
  %theirs = load ptr, ptr %place
  call void @cubie_team_post(ptr %box, ptr %f, ptr %theirs)
  br label %posts
own:
  %own_part = load ptr, ptr %args
  call void %f(ptr %own_part)
  br label %waits
waits:
  %j = phi i64 [ 0, %own ], [ %j1, %await ]
  %left = icmp ult i64 %j, %n
  br i1 %left, label %await, label %out
await:
  %j1 = add i64 %j, 1
  %where = mul i64 %j, {box_bytes}
  %other = getelementptr i8, ptr %boxes, i64 %where
  call void @wait(ptr %other)
  br label %waits
out:
  br i1 %deaf, label %end, label %close
close:
  call void @listen_no_more()
  br label %end
end:
  br i1 %mine, label %release, label %return
release:
  store atomic i64 0, ptr %taken seq_cst, align 8
  br label %return
return:
  ret void
}}
"""


def _compile() -> bytes:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(_source())
    module.verify()
    return target_machine().emit_object(module)


def _source() -> str:
    declaration, pause = _PAUSE.get(platform.machine(), ("", ""))
    return _CODE.format(
        declaration=declaration,
        pause=pause,
        spins=SPINS,
        box_bytes=BOX_BYTES,
        stop_bytes=STOP_BYTES,
        interrupt=int(signal.SIGINT),
        last_action=max(signal.SIG_DFL, signal.SIG_IGN),
        action_bytes=ACTION_BYTES,
        action_bits=8 * ACTION_BYTES,
    )


class NativeTeam:
    """The caller's thread and `size` - 1 others, which stay alive between jobs.

    One job runs at a time: a caller that finds the others busy does its job alone. A process
    that was forked needs a team of its own.
    """

    def __init__(self, size: int):
        self._process = os.getpid()
        self._closed = False
        # Kept for good: threads may be in it when everything else is gone.
        self._code = ObjectCode.find_or_make(_source(), _compile)
        count = max(1, size - 1)
        self._memory = np.zeros((count + 2) * BOX_BYTES, np.uint8)
        # Taken and given back in machine code: a signal comes before or after, never between.
        self._taken = -(-self._memory.ctypes.data // BOX_BYTES) * BOX_BYTES
        self._boxes = [self._taken + (1 + i) * BOX_BYTES for i in range(count)]
        address, pointer = self._code.address, ctypes.c_void_p
        # These return at once: giving up the interpreter's lock would cost more.
        self._wake = ctypes.PYFUNCTYPE(None, pointer)(address("cubie_team_wake"))
        self._post = ctypes.PYFUNCTYPE(None, *[pointer] * 3)(address("cubie_team_post"))
        self._take = ctypes.PYFUNCTYPE(ctypes.c_bool, pointer)(address("cubie_team_take"))
        run = (pointer, pointer, ctypes.c_int64, pointer, pointer, pointer)
        self._run = ctypes.CFUNCTYPE(None, *run)(address("cubie_team_run"))
        serve = ctypes.CFUNCTYPE(None, pointer)(address("cubie_team_serve"))
        initialise = ctypes.CFUNCTYPE(None, pointer)(address("cubie_team_open"))
        self._threads = []
        for number, box in enumerate(self._boxes):
            initialise(box)
            name = f"cubie_{number}"
            self._threads.append(
                threading.Thread(target=serve, args=(box,), daemon=True, name=name)
            )
            self._threads[-1].start()
        atexit.register(self.close)

    def wake(self, workers: int) -> None:
        """Let the threads of a job that will be posted within microseconds be ready for it."""
        for box in self._boxes[: workers - 1]:
            self._wake(box)

    def run(
        self,
        function: int,
        arguments: ctypes.Array[ctypes.c_int64],
        ended_by_ctrl_c: RunQueue | None = None,
    ) -> None:
        """Call the C function at an address once with each argument, in threads of their own.

        A caller that finds the others busy calls it with the first one only: the work must be
        such that any worker can do all of it. `ended_by_ctrl_c` is called off by a SIGINT that
        arrives meanwhile; give it in the main thread, while Python's own handler is installed.
        """
        others = len(arguments) - 1
        if others > len(self._boxes):
            raise ValueError(f"{others} other threads asked of a team of {len(self._boxes)}")
        queue = None if ended_by_ctrl_c is None else ended_by_ctrl_c.address
        first = ctypes.addressof(arguments)  # sooner than ctypes finds it
        self._run(self._taken, self._boxes[0], others, function, first, queue)

    def close(self) -> None:
        """End the threads, once they are at leisure; jobs that follow are done without them."""
        if os.getpid() != self._process or self._closed:
            return  # they are another process's, or ended before
        while not self._take(self._taken):
            time.sleep(PATIENCE_SECONDS)
        self._closed = True
        for box, thread in zip(self._boxes, self._threads, strict=True):
            self._post(box, None, None)
            thread.join()
