"""Other languages: sentences written for this sample, put together by a seeded rule.

Twelve sentences a language with places for a year, a number (a multiple of ten, so that one plural form fits) and a name; a page takes them
in a drawn order. Two pages of one language share sentences: they are there for language identification, not for duplicates.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Language(NamedTuple):
    """Sentences with {year}, {number} and {name}; an older character set that its pages often come in; what stands between sentences."""

    charset: str
    space: str
    names: tuple[str, ...]
    sentences: tuple[str, ...]


LANGUAGES = {
    "de": Language(
        "windows-1252",
        " ",
        ("Anna Keller", "Jonas Brandt", "Miriam Vogel", "Felix Hartmann", "Greta Sommer"),
        (
            "Der alte Bahnhof wurde im Jahr {year} geschlossen und steht seitdem leer.",
            "{name} hat das kleine Haus am Fluss von der Großmutter geerbt und möchte es behalten.",
            "Vom Dorf bis zur Küste sind es ungefähr {number} Kilometer, meistens durch dichten Wald.",
            "Im Winter bleiben die Straßen oft tagelang gesperrt, weil der Schnee nicht geräumt werden kann.",
            "Die Bibliothek besitzt mehr als {number} Handschriften, die bisher niemand vollständig beschrieben hat.",
            "Wer früh genug aufsteht, kann auf dem Markt frisches Brot und reife Äpfel kaufen.",
            "Seit {year} trifft sich der Chor jeden Donnerstag im Saal über der Bäckerei.",
            "{name} erklärte, dass die Brücke noch in diesem Sommer erneuert werden soll.",
            "Nach dem Regen roch der Garten nach Erde, und die Kinder suchten Schnecken unter den Blättern.",
            "Für die Reparatur der Orgel sammelten die Nachbarn über {number} Spenden in nur einer Woche.",
            "Niemand konnte sich erklären, warum die Uhr am Rathaus seit dem Herbst {year} immer zu spät ging.",
            "Am Abend las {name} den Gästen aus einem Buch vor, das längst vergriffen ist.",
        ),
    ),
    "fr": Language(
        "windows-1252",
        " ",
        ("Claire Moreau", "Julien Lefort", "Sophie Garnier", "Mathieu Roche", "Hélène Dubois"),
        (
            "Le vieux moulin a cessé de tourner en {year}, mais la roue est encore en place.",
            "{name} a passé toute son enfance dans cette vallée et n'a jamais voulu la quitter.",
            "Il faut marcher environ {number} minutes pour atteindre la chapelle au sommet de la colline.",
            "Au printemps, les pêcheurs repeignent leurs bateaux et réparent les filets sur le quai.",
            "La bibliothèque municipale prête chaque mois plus de {number} ouvrages aux écoles des environs.",
            "Personne ne savait pourquoi la lumière restait allumée toute la nuit au dernier étage.",
            "Depuis {year}, le marché se tient le samedi matin devant l'ancienne gare.",
            "Selon {name}, les travaux du pont devraient être terminés avant les premières neiges.",
            "La soupe était si chaude que les enfants ont attendu longtemps avant d'y goûter.",
            "Les habitants ont planté {number} arbres le long de la route pour se protéger du vent.",
            "Cette lettre, écrite en {year}, n'est arrivée à son destinataire que bien des années plus tard.",
            "Le soir, {name} jouait du violon près de la fenêtre ouverte et les passants s'arrêtaient.",
        ),
    ),
    "es": Language(
        "windows-1252",
        " ",
        ("Lucía Herrera", "Andrés Molina", "Carmen Ortega", "Javier Salas", "Elena Vidal"),
        (
            "La fábrica de papel cerró en {year} y desde entonces el edificio está vacío.",
            "{name} aprendió a nadar en el río que pasa detrás de la escuela.",
            "El autobús tarda unos {number} minutos en llegar desde el puerto hasta la plaza mayor.",
            "En verano las noches son tan cálidas que la gente cena en la calle.",
            "El museo guarda más de {number} piezas de cerámica que todavía no se han expuesto.",
            "Nadie recordaba quién había pintado aquel retrato colgado junto a la escalera.",
            "Desde {year} la banda del pueblo toca cada domingo en el parque.",
            "Según {name}, la cosecha de este año será mejor que la anterior.",
            "Mi abuela decía que el pan sabe mejor cuando se comparte con los vecinos.",
            "Los voluntarios recogieron {number} sacos de basura en la playa durante la mañana.",
            "El terremoto de {year} cambió para siempre el aspecto del barrio antiguo.",
            "Cuando dejó de llover, {name} abrió las ventanas para que entrara el aire fresco.",
        ),
    ),
    "it": Language(
        "windows-1252",
        " ",
        ("Giulia Ferri", "Marco Bellini", "Chiara Lombardi", "Paolo Rinaldi", "Teresa Gallo"),
        (
            "Il teatro fu costruito nel {year} e restaurato soltanto molti anni dopo.",
            "{name} lavora nella bottega del nonno, dove si riparano ancora gli orologi a mano.",
            "Dalla stazione al lago ci sono circa {number} minuti di cammino lungo un sentiero ombroso.",
            "D'inverno la nebbia copre i campi e le campane si sentono da molto lontano.",
            "La raccolta comprende più di {number} disegni che nessuno aveva mai pubblicato.",
            "Ogni mattina il fornaio lascia una cesta di pane davanti alla porta della scuola.",
            "Dal {year} la festa del paese si tiene la prima domenica di settembre.",
            "Secondo {name}, il nuovo ponte renderà più facile la vita di chi abita sull'altra riva.",
            "Non sapevamo se restare ad aspettare la pioggia oppure tornare subito a casa.",
            "Gli studenti hanno intervistato {number} persone anziane per raccogliere i loro ricordi.",
            "La lettera porta la data del {year}, ma la firma purtroppo è illeggibile.",
            "La sera {name} raccontava storie di mare ai bambini seduti intorno al fuoco.",
        ),
    ),
    "pt": Language(
        "windows-1252",
        " ",
        ("Inês Carvalho", "Tiago Moura", "Beatriz Lopes", "Rui Azevedo", "Marta Nogueira"),
        (
            "A antiga escola fechou em {year} e hoje funciona ali uma oficina de barcos.",
            "{name} guardou as fotografias da família numa caixa de madeira durante muitos anos.",
            "São cerca de {number} quilómetros entre a aldeia e a praia mais próxima.",
            "No outono as ruas ficam cobertas de folhas e ninguém tem pressa de as varrer.",
            "A biblioteca recebeu mais de {number} livros oferecidos pelos moradores do bairro.",
            "Ninguém percebeu por que razão o relógio da torre parou naquela noite.",
            "Desde {year} que a feira se realiza no largo em frente à igreja.",
            "Segundo {name}, a ponte nova ficará pronta antes do fim do verão.",
            "Quando a maré baixa, as crianças procuram conchas entre as pedras.",
            "Os vizinhos plantaram {number} árvores ao longo do caminho que leva ao rio.",
            "O mapa mais antigo da região foi desenhado em {year} por um padre desconhecido.",
            "À noite, {name} tocava guitarra na varanda e todos ficavam a ouvir em silêncio.",
        ),
    ),
    "nl": Language(
        "windows-1252",
        " ",
        ("Sanne de Wit", "Pieter Kuipers", "Lotte Vermeer", "Bram Hoekstra", "Fleur Dekker"),
        (
            "De oude molen aan de rand van het dorp werd in {year} door de bliksem getroffen.",
            "{name} woont al jaren op een boot in de gracht en wil nergens anders heen.",
            "Het is ongeveer {number} kilometer fietsen van het station naar de duinen.",
            "In de winter schaatsen de kinderen na school op het bevroren meer.",
            "Het archief bewaart meer dan {number} brieven die nog nooit zijn gelezen.",
            "Niemand begreep waarom de deur van de kerk die ochtend wijd openstond.",
            "Sinds {year} wordt de kaasmarkt elke vrijdag op het plein gehouden.",
            "Volgens {name} moet de dijk nog voor het najaar worden versterkt.",
            "Het regende zo hard dat we de hele middag binnen hebben zitten kaarten.",
            "De buren hebben samen {number} bomen geplant langs de weg naar het bos.",
            "Het schilderij is in {year} verkocht en sindsdien nooit meer gezien.",
            "Toen het donker werd, stak {name} de lampen aan en begon te vertellen.",
        ),
    ),
    "ru": Language(
        "windows-1251",
        " ",
        ("Анна Соколова", "Пётр Лебедев", "Мария Орлова", "Илья Громов", "Ольга Зайцева"),
        (
            "Старую мельницу на берегу реки закрыли в {year} году, и с тех пор она пустует.",
            "{name} с детства помнит запах яблок в бабушкином саду.",
            "До ближайшей станции около {number} километров, и дорога идёт через лес.",
            "Зимой деревню так заносит снегом, что почту привозят только раз в неделю.",
            "В библиотеке хранится более {number} рукописей, которые ещё никто не описал.",
            "Никто не знал, почему в окне верхнего этажа всю ночь горел свет.",
            "С {year} года ярмарка проходит на площади перед старым вокзалом.",
            "По вечерам {name} играет на скрипке, и прохожие останавливаются послушать.",
            "После дождя дети бегали по лужам и пускали бумажные кораблики.",
            "Соседи посадили вдоль дороги {number} молодых лип, чтобы защититься от ветра.",
            "Письмо было отправлено в {year} году, но дошло до адресата намного позже.",
            "Как рассказывает {name}, мост обещают построить уже к следующей весне.",
        ),
    ),
    "zh": Language(
        "gb18030",
        "",
        ("王小梅", "李建国", "陈雨晴", "张文远", "刘思敏"),
        (
            "这座石桥建于{year}年，至今仍有许多村民每天从桥上走过。",
            "{name}小时候住在河边，常常和朋友们一起去捉鱼。",
            "从车站走到湖边大约需要{number}分钟，路上可以看到很多老房子。",
            "冬天的早晨非常冷，街上的人们都穿着厚厚的大衣。",
            "图书馆里收藏了{number}多本旧书，其中一些已经没有别的副本了。",
            "没有人知道那天晚上钟楼的灯为什么一直亮着。",
            "从{year}年开始，镇上每年秋天都会举办一次音乐会。",
            "{name}认为，新的公路会让大家的生活更加方便。",
            "下雨以后，院子里的花开得更加好看了。",
            "志愿者们在山坡上种了{number}棵树，希望能够挡住风沙。",
            "这封信写于{year}年，可是过了很久才送到收信人的手里。",
            "晚饭以后，{name}喜欢坐在窗前给孩子们讲故事。",
        ),
    ),
    "ja": Language(
        "shift_jis",
        "",
        ("田中さん", "佐藤さん", "鈴木さん", "高橋さん", "山本さん"),
        (
            "この古い橋は{year}年に建てられ、今でも多くの人が毎日渡っています。",
            "{name}は子どものころ、海の近くの小さな町に住んでいました。",
            "駅から湖まで歩いて約{number}分かかりますが、途中の景色はとてもきれいです。",
            "冬になると雪がたくさん降るので、道がしばらく通れなくなることがあります。",
            "図書館には{number}冊以上の古い本があり、まだ誰も調べていません。",
            "あの夜、どうして灯台の明かりが消えたのかは誰にも分かりませんでした。",
            "{year}年から、毎年秋に村の広場で音楽祭が開かれています。",
            "{name}によると、新しい道路は来年の春に完成する予定だそうです。",
            "雨がやんだあと、庭の花がいっそう美しく見えました。",
            "近所の人たちは力を合わせて、川沿いに{number}本の木を植えました。",
            "その手紙は{year}年に書かれましたが、届いたのはずっと後のことでした。",
            "夕食のあと、{name}は窓のそばに座って子どもたちに昔話をしてくれました。",
        ),
    ),
    "th": Language(
        "tis-620",
        " ",
        ("สมชาย", "มาลี", "ประเสริฐ", "อรุณี", "วิชัย"),
        (
            "สะพานเก่าแห่งนี้สร้างขึ้นในปี {year} และยังมีคนเดินข้ามทุกวัน",
            "{name}เติบโตในหมู่บ้านเล็ก ๆ ริมแม่น้ำและชอบตกปลากับเพื่อน",
            "จากสถานีรถไฟไปถึงทะเลสาบใช้เวลาเดินประมาณ {number} นาที",
            "ในฤดูฝนถนนมักจะถูกน้ำท่วม ชาวบ้านจึงต้องใช้เรือแทนรถ",
            "ห้องสมุดมีหนังสือเก่ามากกว่า {number} เล่มที่ยังไม่มีใครเคยอ่าน",
            "ไม่มีใครรู้ว่าทำไมไฟบนหอคอยจึงเปิดทิ้งไว้ตลอดทั้งคืน",
            "ตั้งแต่ปี {year} เป็นต้นมา ตลาดนัดจะจัดขึ้นทุกวันเสาร์หน้าวัด",
            "{name}บอกว่าถนนสายใหม่จะทำให้การเดินทางสะดวกขึ้นมาก",
            "หลังฝนตก ดอกไม้ในสวนดูสดใสและมีกลิ่นหอมกว่าเดิม",
            "เพื่อนบ้านช่วยกันปลูกต้นไม้ {number} ต้นตามทางที่ไปสู่ภูเขา",
            "จดหมายฉบับนั้นเขียนในปี {year} แต่มาถึงผู้รับช้าไปหลายปี",
            "ตอนเย็น {name}ชอบนั่งเล่านิทานให้เด็ก ๆ ฟังใต้ต้นมะม่วง",
        ),
    ),
}


def paragraphs(language: str, rng: Random) -> list[str]:
    """Two to five paragraphs, in which no sentence comes twice; at least 300 characters but for the languages that write densely."""
    chosen = LANGUAGES[language]
    sentences = rng.sample(chosen.sentences, rng.randrange(7, len(chosen.sentences) + 1))
    filled = [s.format(year=rng.randrange(1850, 2021), number=10 * rng.randrange(2, 20), name=rng.choice(chosen.names)) for s in sentences]
    count = rng.randrange(2, 6)
    return [chosen.space.join(filled[at::count]) for at in range(count)]
