"""The adjectives of names: friendly or neutral ones, that fit any animal and insult nobody."""

from __future__ import annotations

from typing import Final

# One string, because a list of that many literals can be read by nobody.
ADJECTIVES: Final[tuple[str, ...]] = tuple(
    """
    Able Abundant Accurate Adaptable Adept Adorable Adventurous Aerial Affable Agile Airborne Airy
    Alert Alpine Amazing Amber Ambitious Amiable Ample Amused Amusing Ancient Angular Animated Apt
    Aquatic Arboreal Arctic Ardent Arid Artful Artistic Astral Astute Athletic Atlantic Atomic
    Attentive Auburn Auspicious Austral Autumnal Awake Aware Azure Balanced Balmy Baroque Bashful
    Basking Beaming Beloved Benevolent Bewitching Bold Boreal Botanical Bouncy Boundless Brave
    Breezy Bright Brilliant Brisk Bronze Bubbly Bucolic Budding Buoyant Burnished Bustling Buttery
    Calm Candid Capable Caramel Carefree Careful Caring Cautious Celestial Central Cerulean Charming
    Cheerful Cheery Cherished Chestnut Chilly Chirpy Chivalrous Chocolate Choral Cinnamon Circular
    Civic Classic Clement Clever Cloudy Coastal Cobalt Colorful Colossal Comfy Comic Composed
    Confident Content Cool Copper Coral Cordial Cosmic Courteous Cozy Crafty Creamy Creative Crimson
    Crisp Crystal Cultured Curious Curly Cyan Dainty Dapper Daring Dashing Dauntless Dazzling
    Debonair Decent Decisive Deep Deft Delicate Delightful Dependable Desert Devoted Dewy Diamond
    Digital Diligent Diplomatic Discreet Distant Diverse Diving Downy Dramatic Dreamy Driven Dulcet
    Durable Dusky Dutiful Dynamic Eager Early Earnest Earthy Eastern Ebullient Eclectic Ecstatic
    Effortless Elastic Elated Electric Elegant Eloquent Elusive Embroidered Emerald Eminent
    Enchanted Enchanting Endearing Endless Energetic Engaging Enigmatic Enterprising Epic Equable
    Equatorial Essential Esteemed Eternal Ethereal Evening Everyday Exact Excellent Excited Exotic
    Expert Exquisite Exuberant Fabled Fabulous Faithful Famous Fanciful Faraway Fast Favored
    Fearless Feathery Fervent Festive Fiery Fine Firm Flaming Fleecy Fleet Flexible Floating Floral
    Flourishing Flowing Fluent Fluffy Flying Focused Folksy Fond Forest Formal Forthright Fortunate
    Fragrant Frank Freckled Free Fresh Friendly Frilly Frolicking Frosted Frosty Frugal Fruity Funny
    Furry Galactic Gallant Genial Gentle Genuine Gifted Gilded Gingery Giving Glacial Glad Gleaming
    Gleeful Glimmering Glistening Glittering Glossy Glowing Golden Graceful Gracious Grand Granite
    Grassy Grateful Great Gregarious Groovy Grounded Growing Halcyon Handy Happy Hardy Harmonic
    Harmonious Hazel Healthy Hearty Helpful Heroic Hidden Highland Honest Honeyed Honorable Hopeful
    Hopping Hospitable Humble Humming Humorous Icy Ideal Idyllic Illustrious Imaginative Impish
    Incredible Indigo Industrious Infinite Ingenious Inland Inquisitive Insightful Inspired Intrepid
    Inventive Inviting Iridescent Ivory Jade Jaunty Jazzy Jewelled Jocular Jolly Jovial Joyful
    Joyous Jubilant Judicious Jumping Keen Kind Kindly Kinetic Knightly Lacy Lakeside Lasting
    Laughing Laureate Lavender Lavish Leafy Leaping Learned Legendary Leisurely Lemony Lenient Lilac
    Lilting Limber Literary Lithe Little Lively Lofty Logical Loved Lovely Loving Loyal Lucent Lucid
    Lucky Luminous Lunar Lustrous Luxurious Lyrical Magenta Magical Magnetic Magnificent Majestic
    Marble Marine Maritime Maroon Marvelous Masterful Matchless Meadow Measured Medieval Mellow
    Melodic Memorable Mercurial Merry Meteoric Methodical Midnight Mighty Mild Mindful Mineral
    Miniature Minty Mirthful Misty Modern Modest Moonlit Morning Mossy Motley Mountain Musical
    Mustard Mysterious Mystic Mythical Natty Natural Nautical Neat Neighborly Nestling Nifty Nimble
    Noble Nocturnal Northern Notable Noted Novel Oaken Oceanic Ochre Olive Open Optimal Optimistic
    Opulent Orbital Orchid Orderly Organic Original Ornate Outdoor Outgoing Outstanding Pacific
    Painted Pastel Pastoral Patient Peaceful Peachy Pearly Pensive Peppery Peppy Perceptive
    Perennial Perfect Persistent Piquant Placid Planetary Platinum Playful Pleasant Pleased Plucky
    Plum Plush Poetic Poised Polar Polished Polite Popular Powerful Practical Prancing Precious
    Precise Primal Princely Pristine Prompt Proper Prosperous Prudent Punctual Purple Purring Quick
    Quiet Quilted Quirky Quixotic Radiant Rambling Rapid Rare Ready Reasonable Refined Reflective
    Regal Relaxed Reliable Remarkable Renowned Resilient Resolute Resonant Resourceful Respectful
    Restful Rhythmic Rising Roaming Robust Romantic Rosy Rounded Roving Royal Ruby Rugged Running
    Rural Russet Rustic Rustling Saffron Sage Salty Sandy Sapphire Satin Savvy Scarlet Scenic
    Scholarly Scientific Seafaring Seaside Seasoned Sedate Selfless Sensible Sepia Serene Shaggy
    Sharp Shimmering Shining Shiny Sienna Silent Silken Silky Silver Sincere Singing Skilful
    Skipping Sleek Sleepy Slender Smart Smiling Smooth Snappy Snazzy Snoozing Snowy Snug Soaring
    Sociable Soft Solar Solid Sonic Sonorous Soothing Southern Spangled Sparkling Speckled Spectral
    Speedy Spicy Spirited Splendid Spontaneous Sporting Spotted Sprightly Springy Spruce Spry Square
    Stable Stalwart Starlit Starry Stately Steadfast Steady Stellar Sterling Still Storied Stormy
    Striped Strolling Strong Studious Sturdy Stylish Suave Sublime Subtle Successful Sugary Summery
    Sumptuous Sunlit Sunny Superb Supple Supportive Sure Surfing Surprising Swaying Sweet Swift
    Swimming Sylvan Symphonic Tactful Talented Tall Tangerine Tartan Tasteful Tawny Teal Temperate
    Tender Terrific Thankful Thorough Thoughtful Thrifty Thriving Tidal Tidy Timeless Tiny Tireless
    Topaz Towering Tranquil Traveling Treasured Trim Triumphant Tropical True Trusted Trusting
    Trusty Truthful Tufted Tumbling Tuneful Turquoise Twilight Twinkling Ultimate Ultramarine
    Unbroken Undaunted Unfading Unhurried Unique United Universal Unruffled Upbeat Upland Upright
    Urban Urbane Useful Utmost Valiant Valued Vanilla Vast Vaulting Velvety Venerable Verdant
    Vermilion Versatile Vibrant Victorious Vigilant Vigorous Vintage Violet Virtuous Visionary Vital
    Vivacious Vivid Vocal Volcanic Voyaging Wakeful Waltzing Wandering Warm Wary Watchful Wavy
    Welcome Western Whimsical Whirling Whispering Whistling Wholesome Windswept Windy Winged Winning
    Winsome Wintry Wise Wistful Witty Wonderful Wondrous Wooded Woodland Woolly Worldly Worthy Woven
    Youthful Zealous Zesty Zigzag Zippy
    """.split()  # noqa: SIM905
)
