"""Several crops of an image and their mirrors, as AlexNet, GoogLeNet and VGG were tested: posteriors are averaged.

Without `scales`, Q is what the model was trained with, or what the paper says.
"""

from imclass.models.views.crops import googlenet_crops, grid_crops, ten_crop
from imclass.models.views.posteriors import Crops, MeanPosterior

# The corners are those of the central square of the rescaled image, which is all that the paper keeps of it (section
# 2). torchvision's function of this name takes those of the whole image instead.
TEN_CROP = MeanPosterior(
    "tencrop",
    (Crops(ten_crop),),
    about="Four corners, the centre, their mirrors: 10 crops (Krizhevsky et al., NIPS 2012, section 4.1).",
)

# The squares are left, centre and right (top, centre and bottom of an upright image); the views of a square are its
# corners, its centre and all of it.
GOOGLENET_144 = MeanPosterior(
    "googlenet144",
    (Crops(googlenet_crops),),
    paper=(256, 288, 320, 352),
    about="4 scales x 3 squares x 6 views x 2 mirrors = 144 crops (Szegedy et al., CVPR 2015, section 7).",
)
VGG_MULTICROP = MeanPosterior(
    "vgg-multicrop",
    (Crops(grid_crops),),
    about="5 x 5 crops and their mirrors: 50 a scale (Simonyan and Zisserman, ICLR 2015, section 3.2).",
)

PROTOCOLS = {protocol.name: protocol for protocol in (TEN_CROP, GOOGLENET_144, VGG_MULTICROP)}
