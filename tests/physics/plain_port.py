"""Cores of the plain stepper whose sweep and messages take turns at one port.

Written from docs/decisions/0006-one-port.md. In every tick whoever has the port does one tick of its piece.
"""

from __future__ import annotations

from collections import deque

from plain_router import Observed
from plain_stage import Core, Stage

from neurosim.engine import MeshModel, PacketLoad
from neurosim.engine.sharing_kernels import AXON_LEFT, BEGIN, FINISHED, PORT_BEGIN, READ_LEFT, READ_START, TAKEN

NEVER = 1 << 60


class PortCore(Core):
    """A core with one port for its sweep and one of its stages."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        self.holder = ""  # who has the port: "message", "sweep" or nobody
        self.left = 0  # ticks that the holder still needs
        self.pieces: deque[int] = deque()
        self.looking_up = 0  # ticks of axon-out that are left when the pieces are done
        self.sweeping = True
        self.begun: list[int] = [0]
        super().__init__(number, model, load, seen)
        self.shared = self.read if model.shared_stage == "synapse_read" else self.accumulate

    def _next_packet(self, now: int) -> None:
        pieces = self.load.pieces
        assert pieces is not None
        packet = self.to_sweep[0] if self.to_sweep else int(self.load.core_first[self.number + 1])
        first, last = (int(pieces.first[packet + self.number + k]) for k in (0, 1))
        self.pieces = deque(int(pieces.ends[k + 1] - pieces.ends[k]) for k in range(first, last))
        self.looking_up = pieces.axon_out if self.to_sweep else 0

    def step(self, now: int) -> None:
        if self.holder and self.left == 0:
            if self.holder == "sweep":
                self.pieces.popleft()
            self.holder = ""
        self.receive(now)
        self._give_to_messages(now)
        self.send(now)
        if self.holder:
            self.left -= 1
            self.seen.moves["port"] += 1

    def _give_to_messages(self, now: int) -> None:
        stage = self.shared
        waits = stage.message is not None and stage.busy_until == NEVER
        if waits and not self.holder:
            ticks = self.read_ticks if stage is self.read else self.accumulate_ticks
            self.holder, self.left = "message", int(ticks[stage.message])
            stage.busy_until = now + self.left
            self.seen.stages[stage.message][PORT_BEGIN] = now
            self.seen.happened["port is given from message to message"] += self.begun[-1] == now
            self.begun.append(stage.busy_until)
        elif waits:
            self.seen.happened["message waits for the sweep"] += self.holder == "sweep"

    def send(self, now: int) -> None:
        """Sweep and inject."""
        moved = True
        while moved:
            moved = self._sweep(now)
            moved |= self.inject(now)
            self.seen.moves["send"] += moved
        if self.sweeping:
            if self.pieces:
                self.seen.happened["sweep waits for messages"] += self.holder == "message"
            elif self.looking_up:
                self.looking_up -= 1
                self.seen.moves["axon-out"] += 1
            else:
                self.seen.stalled[self.number] += 1
                self.seen.happened["sweep stalls"] += 1
        if self.injecting and now >= self.busy_until:
            self.seen.happened["source waits for a slot"] += 1

    def _sweep(self, now: int) -> bool:
        if not self.sweeping:
            return False
        if self.pieces:
            if self.holder:
                return False
            self.holder, self.left = "sweep", self.pieces[0]
            return True
        if self.looking_up:
            return False
        if not self.to_sweep:
            self.sweeping = False
            self.seen.sweep_end[self.number] = now
            return True
        if len(self.injecting) >= self.room:
            return False
        packet = self.to_sweep.popleft()
        self.put(packet)
        self.seen.ready[packet] = now
        self._next_packet(now)
        return True

    def take_tail(self, message: int, now: int) -> None:
        super().take_tail(message, now)
        self.seen.stages[message][TAKEN] = now

    def _leave(self, stage: Stage, after: Stage | None, now: int) -> bool:
        message = stage.message
        left = super()._leave(stage, after, now)
        if left:
            column = {id(self.axon_in): AXON_LEFT, id(self.read): READ_LEFT, id(self.accumulate): FINISHED}[id(stage)]
            self.seen.stages[message][column] = now  # type: ignore[index]
        return left

    def _enter(self, stage: Stage, ticks: object, now: int) -> bool:
        entered = super()._enter(stage, ticks, now)
        if entered:
            assert stage.message is not None
            self.seen.stages[stage.message][READ_START if stage is self.read else BEGIN] = now
            if stage is self.shared and stage.busy_until > now:
                stage.busy_until = NEVER
                # A message that comes while the port is free has it before others can move on.
                self._give_to_messages(now)
        return entered

    @property
    def idle(self) -> bool:
        return super().idle and not self.sweeping
