"""The documented signatures of bucketed models, which the double does not make."""


class BucketModelConfig:
    def __init__(self, bucket_kernel, *_, shared_state_buffer=None, shared_state_buffer_preprocessor=None, func_kwargs=None):
        self.bucket_kernel = bucket_kernel
        self.shared_state_buffer = shared_state_buffer
        self.shared_state_buffer_preprocessor = shared_state_buffer_preprocessor
        self.func_kwargs = func_kwargs


def bucket_model_trace(func, example_inputs, bucket_config, compiler_workdir=None, compiler_args=None):
    raise NotImplementedError("the double makes one artifact for each bucket, as neuronc asks for")
