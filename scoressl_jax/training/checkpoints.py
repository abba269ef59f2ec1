"""The one place that knows orbax: saving states, and restoring the newest one that can be read."""

import contextlib
import errno
import logging
import os
import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from scoressl_jax.errors import UserError, one_line

BESIDE = 2**20  # bytes that a checkpoint takes beside its arrays


def system_error(error: BaseException | None) -> int:
    """The number that the operating system gave an error which orbax has wrapped, perhaps in text; 0 without any."""
    while error is not None:
        said = re.search(r"os_error_code='(\d+)'", str(error))  # as tensorstore has it
        if said or isinstance(error, OSError) and error.errno:
            return int(said[1]) if said else error.errno
        error = error.__cause__ or error.__context__
    return 0


class Checkpoints:
    """Checkpoints of one stage in `directory`: the two newest, and the one with the lowest loss.

    Saving is asynchronous; `close` waits for it. What the system refuses, in whichever thread, is an OSError that names
    the directory. Restoring skips damaged checkpoints, newest first, and keeps them
    aside, beside `directory`, as `NAME-STEP.damaged`.
    """

    def __init__(self, directory):
        self.directory = Path(directory).absolute()
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1),
            ]
        )
        # best_fn makes orbax write the loss down with the state, so that a resumed run knows it.
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, best_fn=lambda metrics: metrics["loss"], best_mode="min"
        )
        self._manager = self._open()

    def _open(self):
        with self._writing():
            return ocp.CheckpointManager(self.directory, options=self._options)

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except Exception as error:
            number = system_error(error)
            if not number:
                raise
            raise OSError(number, os.strerror(number), str(self.directory)) from None

    def save(self, state, loss):
        """Save the state under its step; `loss` is the mean training loss since the checkpoint before."""
        step = int(state.step)
        if "[" in str(self.directory):
            raise UserError(
                f"{self.directory}: what is kept below a folder with [ in its name cannot be read back: rename"
            )
        if step not in self._manager.all_steps():
            # A copy, because the state's own buffers are donated to the next update while orbax still reads.
            state = jax.tree.map(jnp.copy, state)
            self._check_space(state)
            # A named item, because with an empty step folder about, orbax takes a lone one for several.
            args = ocp.args.Composite(state=ocp.args.StandardSave(state))
            with self._writing():
                self._manager.save(step, args=args, metrics={"loss": float(loss)})

    def _check_space(self, state):
        """A disk that has no room is known before a part of the checkpoint is there."""
        needed = BESIDE + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        if shutil.disk_usage(self.directory).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.directory))

    def latest_step(self):
        """Step of the newest checkpoint, readable or not; None without any."""
        return self._manager.latest_step()

    def restore(self, template):
        """The newest readable state, with the shardings of `template` (same tree, shapes and dtypes).

        Returns None when there is no checkpoint at all. Raises UserError when none of them can be read.
        """
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        damaged = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
                state = self._manager.restore(step, args=args)["state"]
            except Exception as error:  # orbax raises many types for truncated, missing or altered files
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                damaged.append(step)
                print(
                    f"checkpoint {self.directory}/{step} cannot be read ({reason:.160}); trying the one before it",
                    file=sys.stderr,
                )
                continue
            self._set_aside(damaged)
            return state
        if damaged:
            raise UserError(
                f"no checkpoint in {self.directory} can be read (steps {damaged}): restore the folder from a copy, "
                "or delete it to train this stage afresh"
            )
        return None

    def _set_aside(self, steps):
        if not steps:
            return
        self._manager.close()
        if jax.process_index() == 0:
            for step in steps:
                target = self.directory.parent / f"{self.directory.name}-{step}.damaged"
                shutil.rmtree(target, ignore_errors=True)
                (self.directory / str(step)).rename(target)
        self._manager = self._open()

    def wait(self):
        with self._writing():
            self._manager.wait_until_finished()

    def close(self):
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.close()


def read_averages(directory):
    """(step, averaged parameters as NumPy arrays) of the newest checkpoint in `directory`; (0, None) without any."""
    directory = Path(directory).absolute()
    steps = [int(path.name) for path in directory.glob("*") if path.name.isdigit()]
    if not steps:
        return 0, None
    folder, reader = directory / str(max(steps)) / "state", ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # orbax warns that a part of a checkpoint has no description of its own
    try:
        item = {"ema_params": reader.metadata(folder).item_metadata.tree["ema_params"]}
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        restore = ocp.args.PyTreeRestore(item=item, restore_args=as_numpy, partial_restore=True)
        return max(steps), reader.restore(folder, args=restore)["ema_params"]
    except Exception as error:  # orbax raises many types, as above
        reason = one_line(error)
        raise UserError(f"checkpoint {folder} cannot be read ({reason:.160}): restore it from a copy") from None
    finally:
        logger.setLevel(level)
