import pytest

from druppel.language import detect_language


@pytest.mark.parametrize(
    ("text", "known", "language"),
    [
        ("Das Paket ist nie angekommen und keiner hilft", 0.1, "de"),
        ("Le colis n'est jamais arrivé et personne ne répond", 0.1, "fr"),
        ("Paczka nigdy nie dotarła i nikt nie odpowiada", 0.0, "pl"),
        ("ge moet da nie doen hé amai wa een gedoe daar", 0.5, "nl"),
        ("hun heb mij nie gebelt zo irritand man", 0.4, "nl"),
        ("great service", 0.0, "nl"),
        ("whatever it says here", 0.9, "nl"),
        ("спасибо", 0.0, "ru"),
        ("123 !!", 1.0, None),
    ],
)
def test_languages(text, known, language):
    assert detect_language(text, known) == language
