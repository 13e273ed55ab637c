"""Multi-crop protocols: probabilities averaged over crops and their flips, as for AlexNet, GoogLeNet and VGG.

Flips are horizontal. Without `scales`, Q takes the values in the paper. If the paper gives none, Q is the scale that
the model was trained with.
"""

from imclass.models.views.crops import googlenet_crops, grid_crops, ten_crop
from imclass.models.views.posteriors import Crops, MeanPosterior

# The corners are those of the central square of the rescaled image, because the paper discards the rest (section 2).
# torchvision's `ten_crop` takes the corners of the whole image instead.
TEN_CROP = MeanPosterior(
    "tencrop",
    (Crops(ten_crop),),
    about="Four corners, the centre and their horizontal flips: 10 crops (Krizhevsky et al., NIPS 2012, section 4.1).",
)

# The three squares are at the left, centre and right of an image, or at the top, centre and bottom of a portrait image.
# The six views of a square are its corners, its centre and the whole square.
GOOGLENET_144 = MeanPosterior(
    "googlenet144",
    (Crops(googlenet_crops),),
    paper=(256, 288, 320, 352),
    about="4 scales x 3 squares x 6 views, with horizontal flips: 144 crops (Szegedy et al., CVPR 2015, section 7).",
)
VGG_MULTICROP = MeanPosterior(
    "vgg-multicrop",
    (Crops(grid_crops),),
    about="5 x 5 crops and their horizontal flips: 50 per scale (Simonyan and Zisserman, ICLR 2015, section 3.2).",
)

PROTOCOLS = {protocol.name: protocol for protocol in (TEN_CROP, GOOGLENET_144, VGG_MULTICROP)}
