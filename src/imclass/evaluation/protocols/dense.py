"""Dense evaluation: the network is applied to the whole image (Simonyan and Zisserman, ICLR 2015, section 3.2).

The shorter side is rescaled to Q. The class map is averaged over space before the softmax, and the probabilities are
then averaged over the image and its horizontal flip, and over all scales. Without `scales`, the only scale is the one
that the model was trained with, as in the paper's Table 3. In Table 4 the scales are S - 32, S and S + 32 for a network
trained at S, and 256, 384 and 512 for a network trained with scale jittering.
"""

from imclass.models.views.crops import grid_crops
from imclass.models.views.posteriors import ClassMaps, Crops, MeanPosterior, mean_of_scores

MEAN_MAPS = ClassMaps(mean_of_scores)

DENSE = MeanPosterior(
    "dense",
    (MEAN_MAPS,),
    about="The whole image, class maps averaged (Simonyan and Zisserman, ICLR 2015, section 3.2).",
)
DENSE_MULTICROP = MeanPosterior(
    "dense+multicrop",
    (MEAN_MAPS, Crops(grid_crops)),
    about="`dense` and `vgg-multicrop`, averaged (Simonyan and Zisserman, ICLR 2015, section 4.3, Table 5).",
)

# He et al. average "the scores at multiple scales" (section 3.4) in the fully convolutional form of VGG. Probabilities
# are therefore averaged as for VGG, including those of horizontal flips.
RESNET_MULTISCALE = MeanPosterior(
    "resnet-multiscale",
    (MEAN_MAPS,),
    paper=(224, 256, 384, 480, 640),
    about="`dense` at five scales (He et al., CVPR 2016, section 3.4).",
)

PROTOCOLS = {protocol.name: protocol for protocol in (DENSE, DENSE_MULTICROP, RESNET_MULTISCALE)}
