"""Codebooks: the best values, the gradient of each the sum of its weights', and every bit accounted for."""

import json
import os

import numpy as np
import pytest
import torch
from compress.networks import pair, small_plummet
from scipy.cluster.vq import kmeans2
from torch.nn import functional
from training import tiny

from leadline.checkpoint import load_network, save
from leadline.compress import prune, quantize, share
from leadline.compress.kmeans import kmeans
from leadline.compress.sharing import describe, entropy, huffman
from leadline.deploy import export
from leadline.errors import UserError
from leadline.models import create
from leadline.surgeries.quantize import quantized_layers
from leadline.surgeries.share import pack_bits, shared_layers, unpack_bits
from leadline.training.recipe import check_recipe


@pytest.mark.parametrize("clusters", [2, 5, 16])
def test_kmeans_is_scipys(clusters: int) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 2000) ** 3
    found, index = kmeans(values, clusters, "linear")
    start = np.linspace(values.min(), values.max(), clusters)
    expected, theirs = kmeans2(values[:, None], start[:, None], iter=100, minit="matrix", missing="raise")
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-9)
    assert (index == theirs).all()


@pytest.mark.parametrize("init", ["linear", "density", "random"])
def test_each_number_has_its_nearest_centroid_which_is_its_mean(init: str) -> None:
    values = np.random.default_rng(1).standard_t(3, 3000)
    centroids, index = kmeans(values, 12, init)
    assert (index == np.abs(values[:, None] - centroids).argmin(1)).all()
    for k, centroid in enumerate(centroids):
        assert values[index == k].mean() == pytest.approx(centroid, abs=1e-3)


def test_few_different_numbers_are_kept_exactly() -> None:
    centroids, index = kmeans(np.array([3.0, 1.0, 3.0, 2.0]), 8)
    assert centroids.tolist() == [1, 2, 3]
    assert centroids[index].tolist() == [3, 1, 3, 2]


@pytest.mark.parametrize("clusters", [2, 3, 4, 7, 16, 17, 256])
def test_bits_are_packed_and_unpacked(clusters: int) -> None:
    index = np.random.default_rng(0).integers(0, clusters, 1001).astype(np.uint8)
    packed = pack_bits(index, clusters)
    bits = {2: 1, 3: 2, 4: 2, 7: 4, 16: 4, 17: 8, 256: 8}[clusters]
    assert packed.nbytes == -(-1001 * bits // 8)
    assert (unpack_bits(packed, clusters, 1001) == index).all()


@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("clusters", [4, 16])
def test_values_per_codebook(per: str, clusters: int) -> None:
    network = small_plummet()
    shared = share(network, clusters=clusters, per=per)
    layers = shared_layers(shared)
    assert layers
    for name, (module, _) in layers.items():
        books = module.weight if per == "channel" else module.weight[None]  # type: ignore[index]
        assert all(len(book.unique()) <= clusters for book in books)
        old = network.get_submodule(name).weight
        assert (module.weight - old).norm() < 0.5 * old.norm()  # type: ignore[operator]


def test_more_values_are_nearer() -> None:
    network = small_plummet()
    errors = [np.mean([row.error for row in describe(share(network, clusters=k), network)]) for k in (4, 16, 64)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_the_gradient_of_a_value_is_the_sum_of_its_weights(pruned: bool, per: str) -> None:
    network = small_plummet()
    if pruned:
        network = prune(network, granularity="weight", amount=0.5, scope="layer")
    module, step = shared_layers(share(network, clusters=4, per=per))["guide.0"]
    x = torch.rand(1, 16, 8, 8)
    codebook = module.parametrizations.weight.original  # type: ignore[union-attr]
    free = module.weight.detach().clone().requires_grad_()  # type: ignore[operator, union-attr]
    functional.conv2d(x, free, padding=1).square().sum().backward()
    functional.conv2d(x, module.weight, padding=1).square().sum().backward()  # type: ignore[arg-type]
    index = step.index.reshape(codebook.shape[0], -1).long() - int(pruned)
    gradient = free.grad.reshape(codebook.shape[0], -1)  # type: ignore[union-attr]
    for book in range(codebook.shape[0]):
        for value in range(codebook.shape[1]):
            expected = gradient[book][index[book] == value].sum()
            torch.testing.assert_close(codebook.grad[book, value], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("coding", ["entropy", "plain"])
@pytest.mark.parametrize("clusters", [2, 16, 200])
@pytest.mark.parametrize("amount", [0, 0.6])
def test_a_shared_network_reloads_identically(coding: str, clusters: int, amount: float, tmp_path) -> None:
    network = small_plummet()
    if amount:
        network = prune(network, granularity="weight", amount=amount, scope="layer")
    shared = share(network, clusters=clusters, coding=coding, rest="float16", init="density")
    save(shared, tmp_path / "a.safetensors")
    again = load_network(tmp_path / "a.safetensors")
    for key, value in shared.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert torch.equal(shared(*pair()), again(*pair()))
    if amount:
        kept = shared.guide[0].weight != 0
        assert (kept == (network.guide[0].weight != 0)).all()


def test_the_file_comes_close_to_its_entropy(tmp_path) -> None:
    torch.manual_seed(0)
    import leadline

    network = leadline.create("plummet-s").eval()
    shared = share(network, clusters=16)
    save(shared, tmp_path / "shared.safetensors")
    save(network, tmp_path / "float.safetensors")
    rows = describe(shared, network)
    bound = sum(row.weights * row.entropy_bits for row in rows) / 8
    rest = 4 * sum(v.numel() for k, v in network.state_dict().items() if v.ndim == 1)
    size = os.path.getsize(tmp_path / "shared.safetensors")
    assert bound < size < 1.03 * bound + rest + 8000
    assert size < os.path.getsize(tmp_path / "float.safetensors") / 7
    with open(tmp_path / "shared.safetensors", "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    assert list(header) == ["__metadata__", "leadline.bundle"]


def test_entropy_and_huffman_by_hand() -> None:
    index = np.repeat([0, 1, 2, 3], [8, 4, 2, 2])
    assert entropy(index) == pytest.approx(1.75)
    assert huffman(index) == pytest.approx(1.75)  # powers of two: Huffman is ideal
    assert huffman(np.repeat([0, 1], [99, 1])) == 1.0


def test_codebooks_train_and_zeros_stay(tmp_path) -> None:
    torch.manual_seed(0)
    network = tiny.Tiny(tiny.TinyConfig(width=8))
    network.name = "tiny"
    pruned = prune(network, granularity="weight", amount=0.5)
    recipe = check_recipe(tiny.recipe())
    shared = share(pruned, clusters=8, finetune=recipe, folder=tmp_path)
    before = share(pruned, clusters=8)
    for name, (module, step) in shared_layers(shared).items():
        old = before.get_submodule(name)
        assert torch.equal(step.index, shared_layers(before)[name][1].index)
        assert ((module.weight == 0) >= (pruned.get_submodule(name).weight == 0)).all()  # type: ignore[operator]
        assert not torch.equal(module.weight, old.weight)  # type: ignore[arg-type]


def test_prune_share_export(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    network = prune(prune(small_plummet(), amount=0.3, scope="layer"), granularity="weight", amount=0.5)
    shared = share(network, clusters=16)
    save(shared, tmp_path / "all.safetensors")
    again = load_network(tmp_path / "all.safetensors")
    assert [record["kind"] for record in again.surgeries] == ["prune-channels", "prune-mask", "share"]
    artifact = export(again, "onnx", tmp_path, (48, 64), verify_on="procedural:1,seed=3,size=48x64")
    assert artifact.manifest.verification["mean_difference"] < 1e-3
    assert [record["kind"] for record in artifact.manifest.network["surgeries"]] == [r["kind"] for r in again.surgeries]


@pytest.mark.parametrize("codebooks", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
def test_pruned_and_shared_weights_are_quantised_and_what_was_pruned_stays_zero(
    codebooks: bool, bits: int, tmp_path
) -> None:
    pruned = prune(prune(small_plummet(), amount=0.3, scope="layer"), granularity="weight", amount=0.6)
    pruned = share(pruned, clusters=16) if codebooks else pruned
    made = quantize(pruned, bits=bits, data="procedural:1,seed=3,size=48x64")
    layers = quantized_layers(made)
    assert set(layers) == set(quantized_layers(quantize(small_plummet(), data="procedural:1,seed=3,size=48x64")))
    again = load_network(save(made, tmp_path / "made.safetensors"))
    assert [record["kind"] for record in again.surgeries[-2:]] == ["share" if codebooks else "prune-mask", "quantize"]
    with torch.no_grad():
        expected, float_one = made(*pair()), pruned.eval()(*pair())
    assert torch.equal(again.eval()(*pair()), expected)
    assert 0 < (expected - float_one).abs().mean() < (0.5 if bits == 8 else 5)
    for name in layers:
        zeros = pruned.get_submodule(name).weight == 0
        codes = quantized_layers(again)[name].weight_codes()
        assert (codes[zeros] == 0).all(), name
    assert sum(int((pruned.get_submodule(name).weight == 0).sum()) for name in layers) > 5000


def test_pruned_layers_that_quantisation_has_called_first_stay_pruned() -> None:
    network = create("mobilestereonet-2d").eval()
    pruned = prune(network, granularity="weight", amount=0.5)
    made = quantize(pruned, bits=4, data="procedural:1,seed=3,size=64x192")
    for name in ("conv3d.3", "conv3d.6"):
        zeros = (pruned.get_submodule(name).weight == 0).transpose(1, 2).flatten(1, 2)  # type: ignore[union-attr]
        assert zeros.sum() > 0
        assert (quantized_layers(made)[name].weight_codes()[zeros] == 0).all()


def test_zeros_stay_in_quantisation_aware_training(tmp_path) -> None:
    torch.manual_seed(0)
    network = tiny.Tiny(tiny.TinyConfig(width=8))
    network.name = "tiny"
    pruned = prune(network.eval(), granularity="weight", amount=0.5)
    recipe = tiny.recipe(steps=4)
    made = quantize(pruned, mode="qat", finetune=recipe, folder=tmp_path / "run", data="procedural:1,seed=3,size=48x64")
    start = quantized_layers(load_network(tmp_path / "run" / "start.safetensors"))
    for name, layer in quantized_layers(made).items():
        assert (layer.weight[pruned.get_submodule(name).weight == 0] == 0).all(), name
        assert not torch.equal(layer.weight, start[name].weight), name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"clusters": 1}, "a codebook has 2 to 256 values"),
        ({"clusters": 300}, "a codebook has 2 to 256 values"),
        ({"clusters": 256, "layers": ["coarse.score"]}, "more clusters (256) than weights"),
        ({"clusters": 256, "per": "channel"}, "more clusters (256) than weights"),
        ({"per": "chanel"}, "did you mean 'channel'"),
        ({"init": "liner"}, "did you mean 'linear'"),
        ({"layers": ["gide"]}, "did you mean 'guide'"),
    ],
)
def test_mistakes_are_told_in_one_line(options: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        share(small_plummet(), **options)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_sharing_twice_and_pruning_after_are_refused() -> None:
    shared = share(small_plummet(), clusters=16)
    with pytest.raises(UserError, match="shared already"):
        share(shared, clusters=8)
    with pytest.raises(UserError, match="prune first, then share"):
        prune(shared, granularity="weight", amount=0.5)


def test_a_damaged_file_is_told(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save(share(small_plummet(), clusters=16), path)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-100])
    with pytest.raises(UserError, match="not a readable"):
        load_network(path)
    content[-200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="its tensors are damaged: copy it again"):
        load_network(path)
