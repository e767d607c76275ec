"""TensorFlow: a SavedModel with a signature, lowered through StableHLO."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from leadline.artifacts.manifest import OUTPUT
from leadline.artifacts.runtimes import need
from leadline.deploy.targets.calling import quiet
from leadline.deploy.targets.litert_private import litert_version, to_tf_function
from leadline.deploy.targets.request import Made, Request
from leadline.models.network import Network
from leadline.predict.predictor import input_names

FOLDER = "saved_model"


def convert(network: Network, folder: Path, request: Request) -> Made:
    """Writes saved_model/; its signature `serving_default` has the images' names and the output's."""
    function, variables = to_tf_function(network, request)
    names, output = input_names(network.task, network.takes_time), OUTPUT[network.task][0]
    tf = need("tensorflow", "tensorflow")
    with quiet():
        module = tf.Module()
        module.weights = variables  # tracked, so that they are saved
        specs = {name: tf.TensorSpec((1, 3, *request.size), tf.float32, name=name) for name in names}
        served = tf.function(lambda **images: {output: function(*(images[name] for name in names))[0]})
        signature = served.get_concrete_function(**specs)
        tf.saved_model.save(module, str(folder / FOLDER), signatures={"serving_default": signature})
    return Made(
        {
            "converter": f"litert-torch {litert_version('tensorflow')}, StableHLO in one XlaCallModule",
            "tensorflow": version("tensorflow-cpu"),
        }
    )
