"""The strings that tests/golden/text is about: what people write in prompts, and what breaks text code."""
import random

NEGATIVE = "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
NEGATIVE_S2V = "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"

# Also what the small tokenizers are trained on.
SENTENCES = """\
Two anthropomorphic cats in comfy boxing gear and bright gloves fight intensely on a spotlighted stage.
A cinematic shot of a lighthouse at dusk, waves crashing against the rocks, seagulls circling overhead.
Summer beach vacation style, a white cat wearing sunglasses sits on a surfboard.
The camera slowly pans across a snowy mountain range while the sun rises behind the peaks.
An old man with a long grey beard reads a newspaper in a small café in Paris, warm light, film grain.
Close-up of a hummingbird hovering over a red flower, slow motion, 4k, highly detailed.
A robot walks through the neon streets of Tokyo at night; rain falls and puddles reflect the signs.
Time-lapse of clouds moving over a green valley, wide angle, natural colours.
She turns around, smiles, and waves at the camera as the train leaves the station.
A paper boat floats down a stream in the forest, soft focus, gentle music implied.
Don't stop: it's the dog's ball, isn't it? "Yes", he said (quietly) - and ran away!
Price: $1,299.99 + 20% = €1,559.98; call 555-0199 at 10:30 a.m. on 2024-05-17.
一只可爱的小猫坐在窗台上，看着外面的雨。镜头缓缓推进，画面温暖。
夏日海滩度假风格，一只戴着墨镜的白色猫咪坐在冲浪板上。
两只拟人化的猫穿着舒适的拳击装备，在聚光灯照亮的舞台上激烈地打斗。
古代宫殿里，穿着红色汉服的女子缓缓转身，衣袖随风飘动，电影感，高清。
日落时分，一艘帆船在平静的海面上航行，远处是城市的轮廓。
東京の夜の街を歩くロボット、雨が降り、ネオンが水たまりに映る。
桜の花びらが風に舞う中、女の子が笑顔で手を振っている。
カメラはゆっくりと山の方へ移動し、朝日が昇る。
눈 덮인 산 위로 해가 떠오르고 카메라가 천천히 움직인다.
고양이 한 마리가 창가에 앉아 비를 바라보고 있다.
Ein alter Mann mit Bart liest Zeitung in einem kleinen Café, warmes Licht, Größe und Stärke.
Une femme élégante traverse le pont sous la pluie, la caméra la suit à travers la forêt.
Un gato blanco con gafas de sol está sentado en una tabla de surf; ¿qué pasó después?
Кот сидит на окне и смотрит на дождь, камера медленно приближается.
Закат над морем, парусник плывёт вдоль берега, кинематографичный кадр.
قطة بيضاء تجلس على الشاطئ وتنظر إلى البحر عند الغروب.
חתול לבן יושב על החוף ומסתכל על הים בשקיעה.
एक सफेद बिल्ली समुद्र तट पर बैठी है और सूर्यास्त देख रही है।
แมวสีขาวนั่งอยู่บนชายหาดมองดูพระอาทิตย์ตก
Một con mèo trắng ngồi trên bãi biển ngắm hoàng hôn.
Beyaz bir kedi sahilde oturup gün batımını izliyor, ışık yumuşak.
Biały kot siedzi na plaży i patrzy na zachód słońca, żółć, łódź, świt.
""".splitlines()

HARD = [
    "", " ", "   \t\n ", "\u3000\u3000", "\u00a0", "\u200b", "a", "A b", " leading", "trailing ", "two  spaces", "many     spaces   here",
    NEGATIVE, "镜头晃动，" + NEGATIVE, "镜头切换，镜头晃动，" + NEGATIVE, NEGATIVE_S2V,
    # quotes, width, ligatures
    "a “quoted” cat’s tail…", "‘single’ ‚low‛ „double‟ «angle» ‹x›", "Ａ　Ｂ", "ＬＯＵＤ　ＮＯＩＳＥＳ！？：；（）", "ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟ ﾊﾟﾅﾏ ｱｲｳｴｵ",
    "ﾞ alone ﾟ", "￥１００ ￡５ ￠９ ￦ ￣ ￤ ￨￩￪", "ﾡﾢﾣ ￂￃￄ", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ", "Ĳssel ĳs ŉ Ǆ ǅ ǆ Ǉ ǈ ǉ Ǌ ǋ ǌ Ǳ ǲ ǳ", "ﬂubberiﬁc oﬃce", "ﬓ ﬔ Armenian ligatures stay",
    "《电影》、「角括号」『二重』。，！", "ʼn and ʼ", "①②③ ½ ⅓ ² ³ ™ ℃ № ㍿ ㎏", "𝓐𝓑𝓒 𝔸𝔹 𝟙𝟚 fancy", "ⅣⅫ ⅷ", "ªº µ Å K Ω",
    # entities
    "&amp;", "&amp", "&amp;amp;", "&amp;amp;lt;", "&amp;amp;amp;lt;", "&amp;amp;amp;amp;lt;", "&lt;b&gt;", "<b>&lt;</b>", "a<b &amp;amp; c", "&notit;", "&notin;", "&not", "&nota",
    "&notanentity;", "I'm &notit; I tell you", "&hellip;&mdash;&nbsp;x", "&Eacute;&EACUTE;&eacute;", "P&EACUTE;REZ &NTILDE; &nTILDE;", "BUNDESSTRA&SZLIG;E", "&ltimes;&lt&LT&Lt;", "&copy &copy; &COPY",
    "&CounterClockwiseContourIntegral;", "&fjlig; &ThickSpace; &NotEqualTilde; &bne;", "&#65;", "&#65", "&#x41;", "&#X41", "&#x41g", "&#65x", "&#;", "&#x;", "&#", "&", "&&", "&&amp;", "&;", "& amp;",
    "&#0;", "&#x0;", "&#1;", "&#11;", "&#12;", "&#13;", "&#31;", "&#127;", "&#128;", "&#x80;&#x81;&#x8d;&#x9f;", "&#150;&#8212;", "&#xD800;", "&#xDFFF;", "&#x110000;", "&#99999999999999999999;",
    "&#xFDD0;&#xFFFE;&#xFFFF;&#x1FFFE;x", "&#59;", "&#x3b;", "&amp#59;", "&amp;#59;", "it&#x2019;s", "it&amp;#x2019;s", "&#038;lt;", "&quot;hi&quot;", "&apos;&#39;&#x27;", "&&lt;", "&lt;&#60;&#x3c;", "x&gty",
    "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", "&ampé;", "&lté", "&né;", "&not\u4e2d;", "caf&eacute", "caf&eacute;s&eacutex", "&Aacut&Aacute&Aacutes", "&zwj;&zwnj;&shy;&lrm;&rlm;", "&NewLine;&Tab;x&nbsp;",
    "<a href='?x=1&copy=2'>", "AT&T &c. R&D", "&amp;nbsp;", "<&amp;nbsp;>", "&#9;tab&#10;lf", "line1 &lt;\nline2 &lt; <\nline3 &amp;lt;", "<\n&eacute;\n&amp;eacute;", "\n\n&lt;\n", "<&EACUTE;>", "&#x1F600;", "&#128512;",
    "&frac12;&frac34;", "&alpha;&Beta;&GAMMA;", "&DownBreve;", "&#8232;x", "&#173;", "&#xFEFF;bom", "&#x200b;", "&#x3000;",
    # controls and line breaks
    "a\r\nb\tc", "a\rb", "a\u2028b\u2029c", "a\x85b", "a\x0bb\x0cc", "\x00a\x01b\x02", "a\x1cb\x1db\x1eb\x1fb", "\x7f\x80\x9f", "bell\x07", "\ufeffBOM", "mid\ufeffdle", "\ufff9ann\ufffa\ufffb\ufffc", "\u206a\u206fx",
    "\x1b[31mred\x1b[0m", "\x1b[36;44mI'm blue, da ba dee\x1b[0m", "\x1b[1;2;3", "\x1b[;;H\x1b[", "\x1b[٣m arabic digit", "\x1b]0;title\x07", "\x1b[31", "x\x1b[12z", "\x1b[\x1b[1mm", "a\r\r\nb\n\rc",
    "\x1b[3\x001m", "a\u00adb", "\u200ba\u200b", "a\u200b", "a\u200bb", "a\u200c\u200db", "\u2060w\u2061j", "\u202aLTR\u202c \u202eRTL\u202c", "\u2066iso\u2069", "tag \U000e0061\U000e0062", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\ue000\U000f0000",
    "a\u180eb", "a\u1680b\u2000c\u2007d\u202fe\u205ff", "\u115f\u1160\u3164\uffa0x",
    # scripts and marks
    "e\u0301 a\u0308 o\u0302\u0323", "n\u0303o\u0327", "q\u0307\u0323 q\u0323\u0307", "\u1e9b\u0323", "Ａ\u0301 ﬁ\u0301 ①\u0301", "①\u20dd \u0301lone", "Z\u0351\u036b\u0343a\u0300\u0301\u0302\u0303\u0304lgo", "\u0344 \u0340 \u0341 \u0374 \u037e \u0387",
    "각 각 \u1112\u1161\u11ab\u1100\u1173\u11af", "\u1100\u1161 \u1100 \u1161 \u11a8", "힣ힰퟀ ㄱㄴㄷ ㅏ ﾡ", "한국어 텍스트 고양이", "がぎぐ か\u3099 は\u309a ゛゜", "株式会社 ㈱ ㋿ ㍻", "龍龜鬱 㐀 𠀀 𪚥 豈 更 車 ﷺ", "漢字かな交じり文、テスト。",
    "السَّلامُ عَلَيْكُم قطة", "ﻻ ﷲ ﷺ ﺍﺑ", "שָׁלוֹם עוֹלָם חתול", "שּׁ \ufb2c \u05e9\u05bc\u05c1", "हिन्दी क्षत्रिय ज्ञान क़ ख़ \u0915\u093c", "தமிழ் கொ \u0b95\u0bca", "বাংলা ড় \u09a1\u09bc", "ไทย น้ำ กำ", "ລາວ ຳ", "မြန်မာ", "ខ្មែរ", "བོད་ \u0f73 \u0f75", "ქართული Ქ", "Ελληνικά ΐ ώ \u1fee", "Привет ё й е\u0308 и\u0306", "İstanbul ıI ŞşĞğ", "ßẞ ſt ŒœÆæ",
    "𐍈𐌰 𓀀 𝄞 𝅗𝅥 𝅘𝅥𝅮", "ꙮ ꜱ ʰ ᵃ ₂ ⁿ", "ᄒᆞᆫ글", "\u0958\u0301 \u0340a", "\U0001109a \U00011099\U000110ba", "\u0f71\u0f72\u0f74",
    # emoji
    "😀", "😀😃😄", "👍🏽 👩🏾‍🚀", "👨‍👩‍👧‍👦 family", "🇫🇷🇯🇵🇨🇳 🇫 🇫🇷🇯", "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f Wales", "❤️ ❤ ☺️ ✔ ✨", "1️⃣ #️⃣ *️⃣", "©️ ® ™️ ‼ ⁉️", "cat 🐱 on 🏖️ beach 🌊!!!", "🧑‍❤️‍💋‍🧑", "🏳️‍🌈🏴‍☠️", "©\u200d🌊 \u200d🌊", "🫠🫨🩷",
    # special tokens in the text
    "</s>", "a</s>b", "a </s> b", "<pad>", "x<pad>y", "<unk>", "a<unk>b", "<s>", "<extra_id_0>", "<extra_id_0>word <extra_id_1> word", "<extra_id_99><extra_id_100>", "<extra_id_5", "< pad >", "<0x41>", "x<0x41>y", "<0xE4><0xBD><0xA0>", "<0xZZ>", "&lt;/s&gt;", "&amp;lt;pad&amp;gt;", "</s></s>", "  </s>  ", "a  <extra_id_3>  b", "＜ｐａｄ＞", "▁", "▁▁a", "a▁b", "a ▁ b", "▁</s>▁", "<|star|>", "a<|star|>b <|star|> c", "<|STAR|>", "[TAG]", "pre[TAG]post", "a [TAG] b", "wordTAGWword TAGW TAGW.", "TAGW\u0301x éTAGW TAGWé _TAGW (TAGW) ⓐTAGW", "<<pad>>", "<extra_id_0></s><pad>",
    # repeats: ties between segmentations
    "zq", "zqzqzq zq", "the cat at the 猫", "é\"\\ ~~~ ~~", "aaaaaaaaaaaaaaaaaaaa", "ababababababab", "........", "。。。。。。", "哈哈哈哈哈哈哈", "- - - - - -", "!!!!!!!!???????", "1111111111", "0.123456789012345678901234567890", "eeeeeee ttttttttt sssssss", "lalalalalala", "=====-----=====", "____________", "猫猫猫猫猫", "ｗｗｗｗｗｗ",
    # odds
    "https://example.com/a?b=1&c=2#frag", "user@example.org", "C:\\path\\to\\file", "{\"json\": [1, 2, 3]}", "x=1;y=2;", "(masterpiece:1.2), best quality, <lora:foo:0.8>", "--ar 16:9 --v 5", "a/b\\c|d", "tab\there", "Émile Zola naïve façade", "¿Qué? ¡Sí!", "100% £5 €9 ¥3 ₹7 ₿", "→←↑↓ ⇒ ∀∃∑∫√∞≈≠≤≥", "░▒▓█▌", "┌─┐│", "♠♥♦♣ ★☆", "a​b‌c‍d⁠e", "�", "‐‑‒–—―−", "·•‧∙⋅・･",
    # mojibake; mojibake_strings.py has more
    "sÃ³", "âœ” No problems", "voilÃ  le travail", "schÃ¶n", "â€œquotedâ€\x9d", "Ã©tÃ© Ã  la plage", "l’humanitÃ©", "РїСЂРёРІРµС‚", "\x93quoted\x94", "\x85", "caf\x8e", "a \x80 b", "ï»¿BOM", "Â© 2024", "ðŸ˜€",
]


def random_strings(n, seed):
    """Short mixtures of everything above, and long prompts."""
    rng = random.Random(seed)
    words = [w for s in SENTENCES for w in s.split()]
    bits = [h for h in HARD if h and len(h) < 40] + words * 2
    glue = ["", "", " ", " ", "  ", "\n", "\t", "，", ", ", "\u200b", "\u3000", "&nbsp;", "\u0301", "<", "&"]
    pools = [(0x20, 0x7e), (0xa0, 0x24f), (0x250, 0x36f), (0x370, 0x5ff), (0x600, 0x6ff), (0x900, 0xdff), (0xe00, 0xfff), (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x2bff), (0x3000, 0x33ff), (0x4e00, 0x4fff), (0xac00, 0xacff), (0xf900, 0xfaff), (0xfb00, 0xfdcf), (0xfe00, 0xffef), (0x1d400, 0x1d7ff), (0x1f1e6, 0x1f1ff), (0x1f300, 0x1f6ff)]
    out = []
    for i in range(n):
        if i % 4 == 3:
            lo, hi = rng.choice(pools)
            out.append("".join(chr(rng.randint(lo, hi)) for _ in range(rng.randint(2, 16))))
        else:
            out.append("".join(rng.choice(bits) + rng.choice(glue) for _ in range(rng.randint(2, 6))))
    return out


def long_strings():
    english, chinese = " ".join(SENTENCES[:12]), "".join(SENTENCES[12:17])
    mixed = " ".join(SENTENCES)
    return [(english * 9)[:5000], (chinese * 40)[:5000], (mixed * 4)[:5000], ("a " * 2500), "猫" * 600, "x" * 5000, " ".join(["<extra_id_7>"] * 300), "&amp;" * 400]


def all_strings():
    strings = SENTENCES + HARD + random_strings(420, seed=1) + long_strings()
    return list(dict.fromkeys(strings))
