"""The animals of names: real ones, none of whose names is used to insult people."""

from __future__ import annotations

from typing import Final

# One string, because a list of that many literals can be read by nobody.
ANIMALS: Final[tuple[str, ...]] = tuple(
    """
    Aardvark Aardwolf Abalone Accentor Addax Agouti Akita Albacore Albatross Alligator Alpaca
    Amberjack Ammonite Anchovy Anemone Angelfish Anglerfish Anhinga Anole Antbird Anteater Antelope
    Antlion Aoudad Aracari Arapaima Archerfish Argali Argonaut Armadillo Astrapia Auklet Aurochs
    Avocet Axolotl Babbler Babirusa Badger Bandicoot Banteng Barbel Barbet Barnacle Barracuda
    Barramundi Basilisk Bat Batfish Beagle Bear Beaver Beetle Bellbird Beluga Bettong Bilby
    Binturong Bison Bittern Blackbird Blackbuck Blackcap Blenny Bluebird Bluefin Bluegill Bluejay
    Bluethroat Boarfish Bobcat Bobolink Bobwhite Bonefish Bongo Bonito Bowerbird Bowfin Bowhead
    Boxfish Brambling Bream Brill Brittlestar Broadbill Brolga Bronzeback Budgerigar Bulbul
    Bullfinch Bumblebee Bunting Burbot Burro Bushbaby Bushbuck Bushchat Butterfish Butterfly
    Caddisfly Caiman Camel Canary Canvasback Capelin Capercaillie Capybara Caracal Caracara Cardinal
    Caribou Cassowary Cat Catbird Caterpillar Catfish Chaffinch Chameleon Chamois Cheetah Chevrotain
    Chickadee Chiffchaff Chinchilla Chinook Chipmunk Chital Chiton Chough Chuckwalla Cicada Cichlid
    Civet Clownfish Coati Cockatiel Cockatoo Coelacanth Collie Conch Condor Coqui Corella Corgi
    Cormorant Cottontail Courser Cowrie Coyote Coypu Crake Crane Crayfish Cricket Crocodile
    Crossbill Curassow Curlew Cuscus Cuttlefish Dace Dachshund Dalmatian Damselfish Damselfly Darter
    Deer Degu Dhole Dikdik Dingo Dipper Dolphin Dorado Dormouse Dotterel Dove Dowitcher Dragonet
    Dragonfly Duck Dugong Duiker Dunlin Dunnock Eagle Echidna Eel Egret Eider Eland Elephant Elk
    Elver Emu Ermine Euphonia Falcon Fantail Fawn Fennec Ferret Fieldfare Finch Firebird Firecrest
    Firefish Firefly Flamingo Flicker Flounder Flycatcher Foal Fossa Fox Foxhound Francolin
    Frigatebird Fritillary Frog Frogfish Frogmouth Fulmar Galago Gallinule Gaur Gazelle Gecko
    Gemsbok Gerbil Gerenuk Gharial Giraffe Glider Glowworm Gnatcatcher Gnu Goatfish Goby Godwit
    Goldcrest Goldeneye Goldfinch Goldfish Goosander Gopher Goral Goshawk Grackle Grasshopper
    Grayling Grebe Greenfinch Greenshank Greyhound Grosbeak Grouper Grouse Guanaco Guillemot
    Guineafowl Guitarfish Gull Gundi Guppy Gurnard Gyrfalcon Haddock Halibut Hamerkop Hamster Hare
    Harrier Hartebeest Hawfinch Hawk Hawkmoth Hedgehog Heron Herring Hoatzin Honeybee Honeycreeper
    Honeyeater Honeyguide Hoopoe Hornbill Hornero Horse Hoverfly Hummingbird Husky Hyrax Ibex Ibis
    Iguana Impala Inchworm Indri Jabiru Jacamar Jacana Jackdaw Jackrabbit Jaguar Jaguarundi Javelina
    Jay Jellyfish Jerboa Junco Junebug Kagu Kakapo Kangaroo Katydid Kea Kestrel Killdeer Killifish
    Kingbird Kingfisher Kinglet Kinkajou Kite Kittiwake Kiwi Klipspringer Knifefish Koala Kodiak Koi
    Kokako Kookaburra Kouprey Krill Kudu Labrador Lacewing Ladybird Ladybug Lamb Lammergeier Lapwing
    Lark Leafbird Leafhopper Lechwe Lemur Leopard Limpet Limpkin Linnet Lion Lionfish Lizard Llama
    Loach Lobster Longclaw Longspur Lorikeet Loris Lovebird Lungfish Lynx Lyrebird Macaw Mackerel
    Magpie Mahseer Mallard Manakin Manatee Mandarin Mannikin Manta Mantis Mara Marabou Margay
    Markhor Marlin Marmoset Marmot Marten Martin Mastiff Mastodon Mayfly Meadowlark Meerkat Megapode
    Merganser Merlin Mesite Mink Minke Minnow Mockingbird Mollusk Mongoose Moonfish Moorhen Moose
    Moray Motmot Mouflon Mouse Mousebird Mudskipper Mullet Muntjac Murre Murrelet Muskox Mussel
    Mustang Myna Nandu Narwhal Natterjack Nautilus Nene Newt Nighthawk Nightingale Nightjar Nilgai
    Noctule Numbat Nuthatch Nyala Ocelot Octopus Okapi Olingo Olm Onager Opah Opossum Orca Oribi
    Oriole Oropendola Oryx Osprey Ostrich Otter Ouzel Ovenbird Owl Owlet Oxpecker Oyster Paca
    Paddlefish Pademelon Palmchat Panda Pangolin Panther Parakeet Pardalote Parrot Parrotfish
    Partridge Parula Peacock Peafowl Peccary Pelican Penguin Perch Peregrine Periwinkle Petrel Pewee
    Phainopepla Phalarope Pheasant Phoebe Pika Pike Pilchard Pintail Pipefish Pipistrelle Pipit
    Pitta Plaice Platypus Plover Pochard Pollock Pomfret Pompano Pony Poorwill Porcupine Porpoise
    Possum Potoo Potoroo Pronghorn Ptarmigan Pudu Puffbird Pufferfish Puffin Puma Pumpkinseed Quahog
    Quail Quetzal Quokka Quoll Rabbit Rail Raven Razorbill Redpoll Redshank Redstart Redwing
    Reedbuck Reindeer Remora Retriever Rhea Rhebok Rhino Ringtail Roadrunner Robin Rockfish
    Rockhopper Roebuck Rooster Rorqual Rosefinch Rosella Rosybill Sable Saiga Sailfish Salamander
    Salmon Saltator Sambar Samoyed Sanderling Sandgrouse Sandhopper Sandpiper Sapsucker Sardine
    Sawfish Scallop Scarab Scaup Scorpionfish Scoter Seadragon Seagull Seahorse Seal Sealion
    Secretarybird Seedeater Seriema Serow Serval Shark Shearwater Shelduck Shellfish Shoebill
    Shorebird Shoveler Shrike Shrimp Sifaka Silkmoth Silverfish Silverside Siskin Sitatunga Skate
    Skimmer Skink Skipjack Skua Skylark Smelt Smew Snapper Snipe Snowfinch Solenodon Solitaire
    Songbird Sora Spadefish Spaniel Sparrow Sparrowhawk Spinetail Spoonbill Sprat Springbok
    Springhare Squid Squirrel Stallion Starfish Starling Steelhead Steenbok Stickleback Stilt
    Stingray Stint Stoat Stonechat Stonefly Stork Sturgeon Sunbird Sunbittern Sunfish Suricate
    Swallow Swallowtail Swan Swiftlet Swordfish Swordtail Tahr Takahe Takin Tamandua Tamaraw Tamarin
    Tanager Tanuki Tapaculo Tapir Tarpon Tarsier Tayra Tenrec Tern Terrapin Terrier Tetra Thornbill
    Thrasher Thrush Tiger Tilapia Tinamou Tityra Tody Topi Topminnow Tortoise Toucan Toucanet Towhee
    Tragopan Treecreeper Treefrog Treehopper Treeshrew Triceratops Triggerfish Trogon Troupial Trout
    Trumpetfish Tuatara Tui Tuna Tunny Turaco Turbot Turnstone Turtle Turtledove Urial Vanga Vaquita
    Veery Verdin Vicuna Vireo Viscacha Vizsla Vole Wagtail Wahoo Wallaby Wallaroo Wallcreeper
    Walleye Walrus Wapiti Warbler Waterbuck Waxbill Waxwing Weaver Weaverbird Weka Wheatear Whelk
    Whimbrel Whinchat Whipbird Whippet Whitefish Whydah Wigeon Wildcat Wildebeest Willet Wisent Wolf
    Wolfhound Wolverine Wombat Woodchuck Woodlark Woodpecker Wrasse Wren Wryneck Xenops Xerus Yak
    Yellowfin Yellowhammer Yellowtail Zander Zebra Zebrafish Zebu Zorilla
    """.split()  # noqa: SIM905
)
