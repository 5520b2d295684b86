"""From a network and a chip to a program: which core holds what, and what each message costs there."""

from neurosim.compiler.compile import compile_network
from neurosim.compiler.network_file import read_network_file, write_network_file
from neurosim.compiler.program import MEMORIES, CoreSlice, Program
from neurosim.compiler.program_file import read_program, write_program

__all__ = [
    "MEMORIES",
    "CoreSlice",
    "Program",
    "compile_network",
    "read_network_file",
    "read_program",
    "write_network_file",
    "write_program",
]
