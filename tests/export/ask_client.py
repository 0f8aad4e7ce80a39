"""Runs inside a client's environment: `ask_client.py PROGRAM IMAGES.npy ANSWERS.npz MODEL...`; has numpy and it alone.

What is written here is what docs/export.md tells users of each program to write.
"""

import sys

import numpy as np


def onnxruntime(model, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [session.run(None, {"image": image[None]})[0] for image in images]


def opencv(model, images):
    import cv2

    net = cv2.dnn.readNetFromONNX(model)
    answers = []
    for image in images:
        net.setInput(image[None])
        answers.append(net.forward().reshape(1, -1))
    return answers


def tflite(model, images):
    from tflite_runtime.interpreter import Interpreter

    interpreter = Interpreter(model)
    interpreter.allocate_tensors()
    answers = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return answers


def mediapipe(model, images):
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=-1)
    answers = []
    with ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            named = classifier.classify(picture).classifications[0].categories
            answers.append([[c.score for c in sorted(named, key=lambda c: c.category_name)]])
    return answers


if __name__ == "__main__":
    program, images, answers, *models = sys.argv[1:]
    found = [np.concatenate(globals()[program](model, np.load(images))).astype(np.float32) for model in models]
    np.savez(answers, **{str(index): each for index, each in enumerate(found)})
