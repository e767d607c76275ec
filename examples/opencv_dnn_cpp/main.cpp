// Disparity from an exported Caffe model with OpenCV's DNN module alone.
//
//     disparity out/caffe left.png right.png disparity.pfm

#include <iostream>
#include <stdexcept>
#include <string>

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

namespace {

// Height and width that the model takes, from the artifact's manifest.
cv::Size model_size(const std::string& folder) {
    const cv::FileStorage manifest(folder + "/manifest.json", cv::FileStorage::READ | cv::FileStorage::FORMAT_JSON);
    const cv::FileNode shape = manifest["inputs"][0]["shape"];  // [1, 3, height, width]
    if (!shape.isSeq() || !shape[2].isInt() || !shape[3].isInt())
        throw std::runtime_error(folder + "/manifest.json: no size in there: export the model with a fixed one");
    return {static_cast<int>(shape[3]), static_cast<int>(shape[2])};
}

cv::Mat read_image(const std::string& path) {
    const cv::Mat image = cv::imread(path, cv::IMREAD_COLOR);
    if (image.empty()) throw std::runtime_error(path + ": not an image");
    return image;
}

// RGB in [0, 1], NCHW, padded at the bottom and right to the model's size.
cv::Mat prepare(const cv::Mat& image, const cv::Size& size) {
    if (image.cols > size.width || image.rows > size.height)
        throw std::runtime_error("the image is larger than the model: export it with a larger --size");
    cv::Mat padded;
    cv::copyMakeBorder(image, padded, 0, size.height - image.rows, 0, size.width - image.cols, cv::BORDER_REPLICATE);
    return cv::dnn::blobFromImage(padded, 1.0 / 255, cv::Size(), cv::Scalar(), true);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::cerr << "usage: disparity MODEL_FOLDER LEFT RIGHT OUTPUT.pfm\n";
        return 2;
    }
    const std::string folder = argv[1];
    const cv::Size size = model_size(folder);
    cv::dnn::Net network = cv::dnn::readNetFromCaffe(folder + "/model.prototxt", folder + "/model.caffemodel");
    network.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);

    const cv::Mat left = read_image(argv[2]);
    network.setInput(prepare(left, size), "left");
    network.setInput(prepare(read_image(argv[3]), size), "right");
    cv::Mat output = network.forward("disparity");  // (1, 1, height, width), px

    const cv::Mat disparity(size, CV_32F, output.ptr<float>());
    if (!cv::imwrite(argv[4], disparity(cv::Rect(0, 0, left.cols, left.rows))))
        throw std::runtime_error(std::string(argv[4]) + ": cannot be written");
    return 0;
} catch (const std::exception& error) {
    std::cerr << "disparity: " << error.what() << "\n";
    return 1;
}
