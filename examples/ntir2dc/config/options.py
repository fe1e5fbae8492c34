"""Options of networks, data, phases, modules and losses; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class NetworkOptions:
    """Widths and depths.

    Args:
        generator_width: channels after the first convolution of encoders and decoders; a multiple of 4.
        encoder_blocks: residual blocks of an encoder.
        decoder_blocks: residual blocks of a decoder.
        discriminator_width: channels after the first layer of a discriminator.
        discriminator_layers: stride-2 layers of the three discriminators: blurred color, gray, gradients.
        discriminator_views: what they look at: these three (ToDayGAN), or the color image as it is alone (CycleGAN).
        discriminator_norm: spectral norm of a discriminator's convolutions, instance norm between them (ToDayGAN and
            CycleGAN), or none.
        decoder_norm: the norm of a decoder's last two layers but one; ToDayGAN and CycleGAN have ``instance``.
        antialias: beyond the paper: MornGAN's generators blur before each convolution of stride 2 and after each
            transposed one, so that a translation depends less on where a thing lies, and videos flicker less.
        segmenter_width: channels after the first convolution of a segmenter.
        segmenter_blocks: residual blocks of a segmenter.
        aspp_channels: channels of each branch of the segmenter's pyramid.
        merged_channels: channels after the branches are merged.
        dropout: dropout before a segmenter's last layer.
        segmenter_norm: norm of a segmenter's layers; ``instance`` takes the image's mean color out, ``group`` keeps it,
            and so does ``batch``, which needs several ``segmenter_crops``.
        segmenter_variant: the layers of a segmenter; ``published`` has the segmenter's norm where the branches of the
            pyramid are merged, too, and no biases but the last layer's. Its ``instance`` norm there makes the branch of
            the global mean idle, for which ``paper`` has group norm. Beyond the paper, ``unet``: residual blocks with
            batch norm at a half to an eighth of the size, and skips; of the other options of segmenters only the width,
            the start and the coordinates are its.
        segmenter_init: initial weights of a segmenter: N(0, 0.02) as everywhere, or those of He et al.
        segmenter_coordinates: what a segmenter is told of each pixel: where it lies in the crop (published), or in the
            frame that the crop was cut out of, which says more where crops are small.
        checkpointing: keep less of generators and segmenters for the backward pass and run their layers twice: the
            same gradients in less memory and more time.
    """

    generator_width: int = 64
    encoder_blocks: int = 4
    decoder_blocks: int = 5
    discriminator_width: int = 64
    discriminator_layers: tuple[int, int, int] = (4, 4, 3)
    discriminator_views: Literal["three", "color"] = "three"
    discriminator_norm: Literal["spectral", "instance", "none"] = "spectral"
    decoder_norm: Literal["group", "instance"] = "group"
    antialias: bool = False
    segmenter_width: int = 64
    segmenter_blocks: int = 4
    aspp_channels: int = 64
    merged_channels: int = 256
    dropout: float = 0.5
    segmenter_norm: Literal["instance", "group", "batch"] = "instance"
    segmenter_variant: Literal["paper", "published", "unet"] = "paper"
    segmenter_init: Literal["normal", "he"] = "normal"
    segmenter_coordinates: Literal["crop", "frame"] = "crop"
    checkpointing: bool = False


@dataclass(frozen=True)
class DataOptions:
    """Where training images come from and how they are cut.

    Args:
        crop: side of the square training crop in pixels; a multiple of 4.
        flip: probability of a horizontal flip.
        replacement: draw the images of both domains with replacement (published); otherwise each pass takes all once.
        edge_low: lower Canny threshold of missing edge maps.
        edge_high: upper Canny threshold of missing edge maps.
        scene_height: height of the procedural scenes, used without ``data``.
        scene_width: width of the procedural scenes.
        scenes_a: number of daytime training scenes.
        scenes_b: number of night thermal training scenes.
        scenes_val: number of night thermal scenes with ground truth, for evaluation.
        scenes_judge: number of daytime scenes for ``evaluate.py --judge trained``; the judges that are shipped need
            none.
        scene_seed: seed of the procedural scenes, apart from the run's own.
        workers: data-loader processes; 0 loads in the training process.
    """

    crop: int = 256
    flip: float = 0.5
    replacement: bool = False
    edge_low: float = 0.1
    edge_high: float = 0.2
    scene_height: int = 128
    scene_width: int = 160
    scenes_a: int = 160
    scenes_b: int = 160
    scenes_val: int = 24
    scenes_judge: int = 0
    scene_seed: int = 0
    workers: int = 0

    def scenes(self) -> dict[str, Any]:
        """Return the arguments of ``write_scenes`` for these scenes."""
        return {
            "seed": self.scene_seed,
            "n_train_a": self.scenes_a,
            "n_train_b": self.scenes_b,
            "n_val": self.scenes_val,
            "n_judge": self.scenes_judge,
            "size": (self.scene_height, self.scene_width),
        }


@dataclass(frozen=True)
class PhaseOptions:
    """When each phase starts: below 1 a fraction of all epochs, from 1 on an epoch (counted from 0).

    Args:
        baseline: generators and discriminators start; before it the segmenters alone learn, and nothing where there are
            none (rows of a study then still see the same images in the same steps). 0 is the paper's.
        structure: the SSIM term of the cycle loss and the temperature term come in.
        segment_a: the segmenter of the color domain, S_A, is trained on real images.
        segment_b: S_A also learns boundaries and its own confident predictions; S_B is trained on translated images.
        distill: S_B is also trained on real thermal images with mined labels; the semantic loss on translated thermal
            images reaches the generator; scale robustness comes in.
        collaborate: the segmenters are frozen and the memory is filled; ACA, CGR and the semantic loss on translated
            color images come in.
    """

    baseline: float = 0.0
    structure: float = 10 / 80
    segment_a: float = 20 / 80
    segment_b: float = 30 / 80
    distill: float = 40 / 80
    collaborate: float = 75 / 80


@dataclass(frozen=True)
class ModuleOptions:
    """The rows of the paper's Table 5: what is added to the baseline.

    Args:
        sc: semantic consistency: segmenters, label mining and the segmentation losses (Eq. 8-10).
        sdp: semantic denoising of the pseudo-labels of both domains (Eq. 5-7); needs ``sc``.
        mgca: memory-guided collaborative attention: memory, pairing and ACA (Eq. 11-17); needs ``sc``.
        cgr: conditional gradient repair (Eq. 18-19); without ``sc`` the whole image counts as background.
        sr: scale robustness (Eq. 20-22).
        looks: beyond the paper: until it is frozen S_B also learns from color images in a random thermal look, whose
            labels are known; needs ``sc``.
        early_fa: beyond the paper: L_fa of Eq. 10 trains the generator from the phase ``distill`` on; needs ``sc``.
    """

    sc: bool = True
    sdp: bool = True
    mgca: bool = True
    cgr: bool = True
    sr: bool = True
    looks: bool = False
    early_fa: bool = False

    def __post_init__(self) -> None:
        for name in ("sdp", "mgca", "looks", "early_fa"):
            if getattr(self, name) and not self.sc:
                raise ValueError(f"modules.{name}: needs modules.sc, which gives the pseudo-labels")


@dataclass(frozen=True)
class CycleGANOptions:
    """Weights of CycleGAN's terms; its networks take their widths and blocks from the network options.

    Args:
        lambda_cyc: weight of the L1 cycle term.
        lambda_identity: weight of the identity term; 0 leaves it and its two passes out.
    """

    lambda_cyc: float = 10.0
    lambda_identity: float = 5.0


@dataclass(frozen=True)
class ForkGANOptions:
    """Weights of ForkGAN's terms, its noise and its output; the network options choose widths and blocks.

    Args:
        lambda_cyc: weight of the L1 cycle term.
        lambda_rec: weight of the L1 reconstruction of an image.
        lambda_per: weight of the distance between the codes of an image and of its translation.
        lambda_cls: weight of the generators' side of the domain classifier.
        noise: standard deviation of the noise before and in the decoders that reconstruct.
        output: what ``colorize.py`` and ``evaluate.py`` show: the translation, or the ``refined`` one.
    """

    lambda_cyc: float = 10.0
    lambda_rec: float = 10.0
    lambda_per: float = 1.0
    lambda_cls: float = 1.0
    noise: float = 0.02
    output: Literal["refined", "translated"] = "refined"


@dataclass(frozen=True)
class PearlGANOptions:
    """Weights of PearlGAN's terms, and when the last ones start; its networks are chosen by the network options.

    Args:
        lambda_cyc: weight of the smooth L1 distance inside the cycle loss.
        lambda_ssim: weight of its SSIM term.
        lambda_tv: weight of total variation.
        lambda_sga: weight of structured gradient alignment; 0 needs no edges.
        lambda_ad: weight of attention diversity.
        lambda_accs: weight of the attentional similarity across the domains.
        sga_threshold: threshold of structured gradient alignment; 0.8 for FLIR, 0.44 for KAIST.
        similarity: when SSIM and the similarity across the domains come in: below 1 a fraction of all epochs, from 1 on
            an epoch; 10 of 80 for FLIR, 30 of 120 for KAIST.
    """

    lambda_cyc: float = 10.0
    lambda_ssim: float = 1.0
    lambda_tv: float = 5.0
    lambda_sga: float = 0.5
    lambda_ad: float = 1.0
    lambda_accs: float = 1.0
    sga_threshold: float = 0.8
    similarity: float = 10 / 80

    def first_of_similarity(self, epochs: int) -> int:
        """Return the epoch in which they come in, of a run of so many."""
        return round(self.similarity * epochs if self.similarity < 1 else self.similarity)


@dataclass(frozen=True)
class ToDayGANOptions:
    """Weights of ToDayGAN's terms; its networks take their widths, blocks, layers and norms from the network options.

    Args:
        lambda_cyc: weight of the smooth L1 cycle term.
    """

    lambda_cyc: float = 10.0


@dataclass(frozen=True)
class UNITOptions:
    """Weights of UNIT's terms; its networks take their widths and blocks from the network options.

    Args:
        lambda_rec: weight of the L1 reconstruction of an image by its own domain's decoder.
        lambda_kl: weight of the squared mean of its latent.
        lambda_cyc: weight of the L1 cycle term.
        lambda_kl_cyc: weight of the squared mean of its translation's latent.
    """

    lambda_rec: float = 10.0
    lambda_kl: float = 0.01
    lambda_cyc: float = 10.0
    lambda_kl_cyc: float = 0.01


@dataclass(frozen=True)
class DRITOptions:
    """DRIT++'s style and the weights of its terms; its networks take widths and blocks from the network options.

    Args:
        style: how many numbers describe a style.
        lambda_content: weight of the adversarial term on contents.
        lambda_cyc: weight of the L1 distance after contents were exchanged twice.
        lambda_rec: weight of the L1 reconstruction of an image from its own content and style.
        lambda_kl: weight of the divergence of styles from N(0, I).
        lambda_size: weight of the squared contents.
        lambda_latent: weight of the L1 distance between a random style and what is read from its image.
        lambda_mode: weight of mode seeking.
    """

    style: int = 8
    lambda_content: float = 1.0
    lambda_cyc: float = 10.0
    lambda_rec: float = 10.0
    lambda_kl: float = 0.01
    lambda_size: float = 0.01
    lambda_latent: float = 10.0
    lambda_mode: float = 1.0


@dataclass(frozen=True)
class LossOptions:
    """Weights of Eq. 23 and the options of its terms; the defaults are the paper's.

    Args:
        lambda_cyc: weight of the distance inside the cycle loss; its SSIM term weighs 1.
        lambda_tv: weight of total variation.
        lambda_sga: weight of structured gradient alignment.
        lambda_thermal: weight of the monochromatic and the temperature term; the paper's is ``lambda_sga``.
        lambda_seg: weight of all segmentation losses.
        boundary_weight: weight of the boundary loss beside the cross-entropy of S_A.
        lambda_aca: weight of adaptive collaborative attention.
        lambda_cgr: weight of conditional gradient repair.
        lambda_sr: weight of scale robustness.
        adversarial: relativistic least squares, or those of CycleGAN (``least_squares``).
        published_adversarial: divide each discriminator's adversarial term by its number of scales.
        cycle_distance: ``l1`` (paper) or ``smooth_l1`` (published).
        sga_threshold: threshold of SGA; 0.8 for FLIR, 0.44 for KAIST.
        sga_patches: mean over all patches with an edge, or one of them at random (published).
        gradient_padding: border of the gradients in SGA and CGR; ``zeros`` is published.
        theta_fg: mining threshold of foreground classes (Eq. 9).
        theta_bg: mining threshold of background classes (Eq. 9).
        theta: thresholds of single classes in place of these two, as "person=0.5, traffic light=0.7";
            ``studies/pseudo_labels.py`` chooses them.
        theta_frozen: the same once the segmenters are frozen, for the classes that it names: labels that teach no
            segmenter any more may be less sure.
        mine_frozen_alone: once frozen, mine from S_B(x_b) alone, all classes at ``theta_fg`` (published).
        small_pixels: pixels below which a class counts as small in the segmentation losses; 0: a 64th of the crop.
        clear_ignored: leave unlabeled pixels out of the boundary loss; the published code does not.
        published_fill: labels filled by S_A also teach S_B, after the freeze too, and are M^A in ACA (published).
        label_with_dropout: keep dropout on where segmenters make labels (published).
        resize_segmented: resize what segmenters see to a random size, 0.5 to 1.234 of the crop, until they are frozen
            (published).
        fill_threshold: S_A's predictions above it fill unlabeled pixels of real color images.
        published_fusion: fuse rider into person and trust the second predictor's trucks (published).
        aca_clusters: clusters of ACA.
        aca_phi_local: local threshold of Eq. 16.
        aca_phi_global: global threshold of Eq. 16.
        aca_metric: distance of the k-means.
        aca_init: start of the k-means.
        aca_average: divide by the number of classes (paper) or of those present (published).
        aca_features: the encoder's features (paper), at a quarter of the size; or earlier ones at a ``half``, which
            leave small objects four times as many positions.
        aca_merge_vehicles: one class of car, truck, bus and train (published).
        memory_k: candidates that the memory draws from.
        sr_alpha: smaller scale of Eq. 20.
        sr_beta: larger scale of Eq. 21.
        sr_every_step: draw psi of Eq. 22 at every step (published) instead of once an epoch.
    """

    lambda_cyc: float = 10.0
    lambda_tv: float = 5.0
    lambda_sga: float = 0.5
    lambda_thermal: float = 0.5
    lambda_seg: float = 1.0
    boundary_weight: float = 0.5
    lambda_aca: float = 1.0
    lambda_cgr: float = 1.0
    lambda_sr: float = 1.0
    adversarial: Literal["relativistic", "least_squares"] = "relativistic"
    published_adversarial: bool = False
    cycle_distance: Literal["l1", "smooth_l1"] = "l1"
    sga_threshold: float = 0.8
    sga_patches: Literal["all", "random"] = "all"
    gradient_padding: Literal["replicate", "zeros"] = "replicate"
    theta_fg: float = 0.95
    theta_bg: float = 0.99
    theta: str = ""
    theta_frozen: str = ""
    mine_frozen_alone: bool = False
    fill_threshold: float = 0.95
    small_pixels: int = 0
    clear_ignored: bool = True
    published_fill: bool = False
    label_with_dropout: bool = False
    resize_segmented: bool = False
    published_fusion: bool = False
    aca_clusters: int = 4
    aca_phi_local: float = 0.9
    aca_phi_global: float = 0.9
    aca_metric: Literal["euclidean", "cosine"] = "euclidean"
    aca_init: Literal["k-means++", "random"] = "k-means++"
    aca_average: Literal["all", "present"] = "all"
    aca_features: Literal["quarter", "half"] = "quarter"
    aca_merge_vehicles: bool = False
    memory_k: int = 10
    sr_alpha: float = 0.5
    sr_beta: float = 1.5
    sr_every_step: bool = False

    def thresholds(self, *, frozen: bool = False) -> dict[str, float]:
        """Return the thresholds of single classes by name, while the segmenters learn or once they are frozen.

        Raises:
            ValueError: a text of another form, a number outside [0, 1].
        """
        levels = _read_thresholds("theta", self.theta)
        return levels | _read_thresholds("theta_frozen", self.theta_frozen) if frozen else levels


def _read_thresholds(option: str, text: str) -> dict[str, float]:
    levels: dict[str, float] = {}
    for item in filter(str.strip, text.split(",")):
        name, _, number = (part.strip() for part in item.partition("="))
        try:
            levels[name] = float(number)
        except ValueError:
            raise ValueError(f'losses.{option}: expected "person=0.5, car=0.7", got {text!r}') from None
        if not 0 <= levels[name] <= 1:
            raise ValueError(f"losses.{option}: expected numbers in [0, 1], got {number} for {name}")
    return levels
