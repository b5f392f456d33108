"""The form of a run: short, or ROUNDS of each kind; SEED is drawn, and printed, when it is not given."""
import os
import random
from collections import Counter

ROUNDS = int(os.environ.get("ROUNDS") or 0)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1, 1000000))
os.environ["SEED"] = str(SEED)  # the same for all workers
TALLY = Counter()  # what was done and what held


def rounds(short):
    """How many: `short` in the short form."""
    return ROUNDS or short
