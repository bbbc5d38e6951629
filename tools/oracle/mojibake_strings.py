"""Text that was read in a wrong encoding, made in the ways in which that happens, and worse."""
import random

import ftfy.bad_codecs  # registers the sloppy codecs
from ftfy.chardata import CHARMAP_ENCODINGS, UTF8_CLUES

from text_strings import HARD, SENTENCES

# One sentence or more for each code page; SENTENCES has others.
MORE = """\
Η γάτα κάθεται στο παράθυρο και κοιτάζει τη βροχή, Ελλάδα, ΰ ΐ ώρα.
Příliš žluťoučký kůň úpěl ďábelské ódy; kočka sedí u okna a dívá se na déšť.
Árvíztűrő tükörfúrógép: a macska az ablakban ül és nézi az esőt.
Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė apvalų arbūzą.
Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus.
Pisica albă stă pe plajă și privește apusul; țară, înălțime, câine.
Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.
Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо.
Ђачић џепи њушку, љубичасти ћуран и жена чекају кишу.
À noite, às vezes, vovô Kowalsky vê o ímã cair no pé do pinguim queixoso; àquela hora, àquilo.
Per això, l'àvia va fer-ho fàcil: «què és açò?» – col·legi, llengües.
Voilà l'été à la plage, à quel point; où ça? Noël, œuvre, cœur, Œdipe.
L'histoire coûte 15 € — “c'est cher”, dit-elle… ‘vraiment’ • ® ™ © §5 ¶
Äpfel, Öl, Übermut, ß; schön größer, Straße, Füße, „so‟.
Pijamalı hasta yağız şoföre çabucak güvendi; İstanbul, ığdır.
Flygande bäckasiner söka hwila på mjuka tuvor, ÅÄÖ, å är i ån.
✔ done ✘ failed ★ ☃ → ∞ ≠ ≤ 3½ × 2² ± 0.5° ¿qué? ¡ya!
😀 cat 🐱 on 🏖️ beach 🌊 👨‍👩‍👧 🇫🇷 ¯\\_(ツ)_/¯ ಠ_ಠ
ฉันเห็นแมว, 猫が好き。, 고양이, 中文（测试）《电影》「引号」
الْقِطَّةُ البيضاء ٠١٢، خمسة؛ شاطئ؟ مرحبا بالعالم
שלום עולם, חתול – „לבן”
বিড়াল একটি সাদা, ಕನ್ನಡ ಬೆಕ್ಕು, മലയാളം പൂച്ച, తెలుగు
""".splitlines()

# Strings that reach single rules and corners: of the heuristic, of each repair, of the decoders.
CORNERS = [
    "Ã la mode", "voilÃ  le travail", "Ã quele", "Ã quela Ã quilo Ã s vezes", "Ã  Ã", "a Ã ", "Ã ", "Â ", " Â ", "bien sÃ»r Ã  la fois Ã", "fÃ cil", "Ã\xa0 b", "b.Â “x”", "x!Â ", "xÂ ", "Â©", "a\u2003Ã b",
    "â€œ like this â€�", "â€\ufffd", "â€?", "Ã?", "Â?", "Ã\ufffd", "ð\ufffd\ufffd\ufffd", "ðŸ?˜€", "ðŸ˜?", "ðŸ??", "í\u00a0½í¸?", "í ½í¸\ufffd", "í\xa0½í¸\x8d", "í\xa0½í¸", "í\xa0½í¸\n", "í\xa0½í°\n\n", "í\xa0½", "í\xa0½x", "í\xa0", "í",
    "Ã©À", "Ã©À\n", "Ã©À\x80", "Ã©À\x80x", "À\n", "Ã©À\nx", "Ã©\x1a", "Ã©\x1aâ€\ufffd", "\x1a â€\x9d", "Ã©í", "Ã©í\n", "Ã©í\x95\x9c", "â„¢ í•œ",
    "Гў", "ГўВЂВ™t", "ГўВЂВ™ ", "ГўВЂВњx", "вЂ™", "вЂ", "РџСЂРё", "Р°Р", "В°В", "β€™", "β€\xad", "Ξ¬Ξ", "ā€™", "√©", "√±", "≈°", "‚Äì", "‚Äù", "‚[à", "‚óà", "‚âä", "×²", "×³×", "à²•", "à¹ˆ", "à¼",
    "ØªÙ\x88", "Ù…Ø±Ø­Ø¨Ø§", "Ø§Ù„Ø³", "ÂµÂ®", "Œ!", "Œuvre", "œ.", "À°", "É°", "│ò", "░Ö", "═®", "§═", "é║", "1²═", "\x80", "\x81", "\x9d", "é\x81", "é\x85\x8d", "\x85…", "ÿ\x80", "日本\x85", "\x93x\x94 日本", "ﬁ\x80",
    "¦¬", "é¤", "¤é", "aα¤", "αÉ", "®É", "€é", "é€", " É£", "É²", "É§", "é«¼", "é»«", "€¡", "aÉ£", "aÉ«", "É«x", "é»x", "é»_", "é»\u0301", "é»中", "é» ", "é»-", "é»٣", "é»Ⅷ", "é»²", "\u3000É£", "\x1cÉ£", "\x85É£",
    "ÃƒÂ©", "ÃƒÆ’Ã‚Â©", "ÃƒÆ’Ã†â€™Ãƒâ€šÃ‚Â©", "Ã¢â‚¬â„¢", "Ã¢â‚¬Å“hÃ©Ã¢â‚¬\x9d", "é Ã©", "日本 Ã©", "日本 ðŸ˜€ Ã©tÃ© â€œxâ€\x9d", "ŠÃ©", "xŠÃ©Ã©", "日Ã ", "日 Ã©Ã¨ Ã", "日Ã©â", "日â€™â€", "日ðŸ˜", "日ГЎ", "日Ă©", "日Ć©",
    "╬ô├®", "├⌐", "├\xa0", "Γé¼", "Γö£", "≡ƒÿÇ", "┬½", "ôÇô", "‰", "Ž‰", "àŠ", "é\ufffd", "\ufffd", "\ufffd\ufffd a", "a\ufffdé", "Ó³", "Âµm", "&Atilde;&copy;", "&amp;Atilde;&copy;", "<&Atilde;&copy;Ã©", "Ã&copy;", "&#195;&#169;", "Ãƒ&#169;", "ÃÂ©\x7f",
    "\ufeffÃ©", "ï»¿Ã©", "Ã©\ufeff", "Ã\u200b©", "Ã\xad", "Ã\u00ad", "Â\xa0Â\xa0", "à\xa0\xa0", "à \xa0", "á €", "â €", "ã ‚", "â‚ ", "ã€ ", "ð Ÿ˜", "ðŸ ˜", "ðŸ˜ ", "ð  €", "Ð Ñ", "Ð ÑƒÑ", "Å koda", "Î ", "Ù ", "Ð\x9f\x81", "ô\x8f¿¿", "ô\x90\x80\x80", "à\x80\x80", "ð\x80\x80\x80", "Á\x80", "ï¿½", "ï¿¾",
]
SAMPLES = SENTENCES + MORE
CODECS = CHARMAP_ENCODINGS + ["latin-1", "sloppy-windows-1252", "sloppy-windows-1252", "sloppy-windows-1251", "macroman", "cp437",
                              "sloppy-windows-1256", "sloppy-windows-1255", "cp866", "koi8-r", "iso-8859-15", "cp850", "gbk", "shift-jis"]


def cesu8(text):
    return b"".join(c.encode() if ord(c) < 0x10000 else c.encode("utf-16-be")[:0] + b"".join(
        chr(u).encode("utf-8", "surrogatepass") for u in (0xD800 + (ord(c) - 0x10000 >> 10), 0xDC00 + (ord(c) - 0x10000 & 0x3FF))) for c in text)


def misread(rng, text):
    """`text` written as UTF-8 (or nearly) and read in some codec; bytes may have been lost on the way."""
    data = cesu8(text) if rng.random() < 0.1 else text.encode()
    if rng.random() < 0.05:
        data = data.replace(b" ", b"\xc0\x80")
    if rng.random() < 0.15:
        data = data.replace(b"\xa0", b" ")
    return data.decode(rng.choice(CODECS), rng.choice(["replace", "replace", "ignore"]))


def damage(rng, text):
    """One of the things that happen to strings."""
    at = rng.randrange(len(text) + 1)
    to = at + rng.randint(1, 4)
    kind = rng.randrange(12)
    if kind == 0:
        return text.replace("\xa0", " ")
    if kind == 1:
        return text[:at] + rng.choice(["\ufffd", "?", "\x1a", "\n", "\r\n", "<", "&nbsp;", "\u3000", "\x85", "\xad"]) + text[to:]
    if kind == 2:
        return text[:at] + text[to:]
    if kind == 3:
        return text[at:] or text
    if kind == 4:
        return text[:at] or text
    if kind == 5:
        return text.lower() if rng.random() < 0.5 else text.upper()
    if kind == 6:
        return "".join("\ufffd" if 0x80 <= ord(c) < 0xA0 else c for c in text)
    if kind == 7:
        return "".join(c for c in text if not 0x80 <= ord(c) < 0xA0)
    if kind == 8:
        return text[:at] + rng.choice(CORNERS) + text[at:]
    if kind == 9:
        return text[:at] + rng.choice(SAMPLES)[:rng.randint(1, 20)] + text[at:]
    if kind == 10:
        return text[:at] + "".join(f"&#{ord(c)};" for c in text[at:to]) + text[to:]
    return text + "\n"


def piece(rng):
    text = rng.choice(SAMPLES)
    at = rng.randrange(len(text))
    text = text[at:at + rng.randint(1, 30)]
    for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3])):
        text = misread(rng, text)[:120]
    return text


def expand(chars):
    """The members of a character class of ftfy, which has ranges."""
    out = []
    for i, c in enumerate(chars):
        if c == "-" and 0 < i < len(chars) - 1:
            out += [chr(k) for k in range(ord(chars[i - 1]), ord(chars[i + 1]))]
        else:
            out.append(c)
    return out


CLUES = {k: expand(v) for k, v in UTF8_CLUES.items()}
ALPHABETS = [bytes(range(0x80, 0x100)).decode(c, "ignore") for c in CHARMAP_ENCODINGS] + ["".join(CORNERS), "".join(HARD[:60]), "abzAZ .,?!\n\t_09 "]


def clue_string(rng):
    """Sequences that look like UTF-8, of characters from several code pages."""
    out = ""
    for _ in range(rng.randint(1, 5)):
        n = rng.randint(1, 3)
        out += rng.choice(CLUES[f"utf8_first_of_{n + 1}"])
        out += "".join(rng.choice(CLUES["utf8_continuation"]) for _ in range(n - (rng.random() < 0.1)))
        out += rng.choice(["", "", "", " ", "a", "é", "日"])
    return out


def noise_string(rng):
    """Characters of the code pages in any order."""
    pool = [rng.choice(ALPHABETS) for _ in range(rng.randint(1, 3))]
    return "".join(rng.choice(rng.choice(pool)) for _ in range(rng.randint(1, 14)))


def byte_string(rng):
    """Bytes that are nearly UTF-8, read in one codec."""
    data = bytearray()
    for _ in range(rng.randint(1, 6)):
        data += rng.choice([chr(rng.choice([rng.randint(0x80, 0x7FF), rng.randint(0x800, 0xD7FF), rng.randint(0x2000, 0x2200), rng.randint(0x1F300, 0x1F6FF)])).encode(),
                            b"\xc0\x80", cesu8("😀"), b" ", b"a", b"\x1a", b"?", "à ".encode(), "“”".encode()])
    for _ in range(rng.choice([0, 0, 1, 2])):
        if data:
            at = rng.randrange(len(data))
            data[at:at + 1] = rng.choice([b"", b" ", b"\x1a", b"?", b"\xa0", b"\xed", b"\xc0", b"\n", bytes([rng.randrange(256)])])
    return bytes(data).decode(rng.choice(CHARMAP_ENCODINGS + ["latin-1", "sloppy-windows-1252"]))


def mojibake_strings(n, seed):
    rng = random.Random(seed)
    for _ in range(n):
        kind = rng.random()
        if kind < 0.45:
            text = piece(rng)
        elif kind < 0.6:
            text = piece(rng) + rng.choice(["", " ", "\n", " – "]) + (piece(rng) if rng.random() < 0.5 else rng.choice(SAMPLES)[:15])
        elif kind < 0.75:
            text = clue_string(rng)
        elif kind < 0.88:
            text = noise_string(rng)
        else:
            text = byte_string(rng)
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 4])):
            text = damage(rng, text)
        yield text
