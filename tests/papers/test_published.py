"""The published numbers: how many there are, in which unit, and of how many images."""

from adv_networks.papers.published import is_count, published, published_numbers


def test_each_source_has_its_numbers_and_no_cell_is_two_sources():
    counts = {"direct_approach": 206, "gan_poster": 11, "red_blue": 62, "cifar_report": 35, "survey": 296}
    assert {source: len(published(source)) for source in counts} == counts
    assert len(published()) == sum(counts.values()) == 206 + 404


def test_shares_are_in_percent_and_counts_as_they_are():
    assert published()["1", "mnist", "adversarial network (C)", "PGD(B')"] == 98.10
    assert published()["4", "mnist", "ensemble adversarial training", "No Noise"] == 97.17
    assert published()["poster-1", "mnist", "GAN", "0.3"] == 55.0
    assert published()["redblue-1", "mnist", "no regularisation", "0.25", "confidence"] == 76.7
    assert published()["survey-rand", "mnist", "RAND+FGSM", "A_adv", "error"] == 34.1
    assert published()["report-text", "cifar10", "base model", "PGD 0.05", "images still correct"] == 678
    assert all(0 <= value <= 100 for key, value in published().items() if not is_count(key))


def test_numbers_are_of_all_test_images_unless_the_source_says_otherwise():
    numbers = published_numbers("direct_approach")
    assert numbers["2", "svhn", "standard (A)", "PGD"].images == 26_032
    assert numbers["1", "mnist", "standard (A)", "PGD"].images == 10_000
    few = published_numbers("gan_poster", lambda key: 200)
    assert {number.images for number in few.values()} == {200}
    assert few.keys() == published("gan_poster").keys()
