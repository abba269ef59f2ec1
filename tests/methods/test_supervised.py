from fake_learner import BATCH, Y, assert_close, cross_entropy, one_hot, predicted, run, strong, weak

from scoressl_jax.methods.supervised import Supervised


def test_it_is_cross_entropy_of_strongly_augmented_labelled_images():
    images, labels = strong(BATCH["x"]), one_hot(BATCH["y"])
    found, logs, memory = run(Supervised())
    assert_close(found, cross_entropy(images, labels))
    assert abs(found - cross_entropy(weak(BATCH["x"]), labels)).max() > 0.01
    assert_close(logs["ce"], found[0])
    assert_close(logs["accuracy"], (predicted(images).argmax(1) == Y[:3]).mean())
    assert memory == ()


def test_unlabelled_images_are_not_asked_for():
    found, _, _ = run(Supervised())
    assert_close(run(Supervised(), batch={name: BATCH[name] for name in "xy"})[0], found)


def test_paper():
    assert Supervised.PAPER == {}
