#!/usr/bin/env python3
"""One button and one LED for each label: hold a button to teach what the camera shows; the LED of the answer is lit.

    python3 buttons.py picamera open=5,17 shut=6,27        # LABEL=BUTTON,LED, by the numbers of GPIO pins

Each hold is one session, and a new head is fitted when the button is released. Nothing is lit while the answer is
unknown. The home is EDGE_HOME, or ~/.local/share/edge. Source: the idea is Coral's project-teachable (2019).
"""

import argparse
import os
import signal

from gpiozero import LED, Button

from edge import EdgeError, Learner, Watcher


def main(source: str, rows: list[tuple[str, int, int]], home: str) -> None:
    """Watch, teach and light until stopped or the source ends; `rows` are (label, button, LED)."""
    buttons = {label: Button(pin) for label, pin, _ in rows}
    lights = {label: LED(pin) for label, _, pin in rows}
    held, session, taught = None, "", 0
    try:
        with Learner(home, warn=print) as learner:
            watcher = Watcher(learner, source, every=0.1, say=print)
            signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
            for answer in watcher:
                pressed = next((label for label, button in buttons.items() if button.is_pressed), None)
                if held and pressed != held:
                    retrain(learner, f"{taught} frames of '{held}'")
                if pressed != held:
                    held, session, taught = pressed, f"{pressed} {answer.time}", 0
                if held:
                    taught += len(learner.teach(held, answer.frame, session=session).examples)
                for label, light in lights.items():
                    light.value = label == (held or answer.settled)
            if held:
                retrain(learner, f"{taught} frames of '{held}'")
    finally:
        for device in (*buttons.values(), *lights.values()):
            device.close()


def retrain(learner: Learner, taught: str) -> None:
    """Fit a head, and say how good it is; with one label there is nothing to tell apart yet."""
    try:
        result = learner.retrain()
    except EdgeError as error:
        print(f"{taught} taught; {error}", flush=True)
        return
    accuracy = "not measured yet" if result.loo_accuracy is None else f"{100 * result.loo_accuracy:.0f} %"
    use = "in use" if result.promoted else "kept aside"
    print(f"{taught} taught; generation {result.generation} is {use}, accuracy {accuracy}", flush=True)


def row(text: str) -> tuple[str, int, int]:
    """Read LABEL=BUTTON,LED."""
    label, _, pins = text.rpartition("=")
    button, led = (int(pin) for pin in pins.split(","))
    return label, button, led


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="as for edge watch: picamera, /dev/video0, an address or a path")
    parser.add_argument("rows", nargs="+", type=row, metavar="LABEL=BUTTON,LED")
    given = parser.parse_args()
    try:
        main(given.source, given.rows, os.environ.get("EDGE_HOME", "~/.local/share/edge"))
    except EdgeError as error:
        parser.exit(1, f"error: {error}\n")
