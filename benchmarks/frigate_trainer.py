"""Frigate's way to train a classifier, in TensorFlow: `python frigate_trainer.py PHOTOS MODEL.tflite` prints seconds.

Runs in an environment that holds TensorFlow alone; benchmarks/frigate.py starts it and says what it measures.
"""

import json
import sys
import time
from pathlib import Path

SIDE, BATCH, EPOCHS, RATE = 224, 16, 50, 1e-3


def main(photos: Path, model_file: Path) -> None:
    """Train on the photos and write the model; print the seconds as one line of JSON."""
    start = time.perf_counter()
    import numpy as np
    import tensorflow as tf
    from tensorflow.keras import layers, models, optimizers
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    base = tf.keras.applications.MobileNetV2(input_shape=(SIDE, SIDE, 3), include_top=False, weights=None, alpha=0.35)
    base.trainable = False
    labels = len(list(photos.iterdir()))

    def dense() -> list[layers.Layer]:
        return [layers.Dense(128, activation="relu"), layers.Dropout(0.3), layers.Dense(labels, activation="softmax")]

    def compiled(*stack: layers.Layer) -> models.Model:
        model = models.Sequential(list(stack))
        model.compile(optimizer=optimizers.Adam(RATE), loss="categorical_crossentropy", metrics=["accuracy"])
        return model

    model = compiled(base, layers.GlobalAveragePooling2D(), *dense())
    generator = ImageDataGenerator(rescale=1 / 255, validation_split=0.2)
    batches = generator.flow_from_directory(
        str(photos), target_size=(SIDE, SIDE), batch_size=BATCH, class_mode="categorical", subset="training"
    )
    training = time.perf_counter()
    model.fit(batches, epochs=EPOCHS, verbose=0)
    trained = time.perf_counter()

    def representative():  # type: ignore[no-untyped-def]
        for file in sorted(photos.rglob("*.jpg"))[:300]:
            image = tf.keras.utils.load_img(file, target_size=(SIDE, SIDE))
            yield [np.asarray(image, np.float32)[None] / 255]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    model_file.write_bytes(converter.convert())
    whole = time.perf_counter() - start

    rows = np.random.default_rng(0).normal(size=(len(batches.classes), 1280)).astype(np.float32)
    head = compiled(*dense())
    targets = np.eye(labels, dtype=np.float32)[batches.classes]
    alone = time.perf_counter()
    head.fit(rows, targets, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    print(json.dumps({"whole": whole, "train": trained - training, "head": time.perf_counter() - alone}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
