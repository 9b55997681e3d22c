// The linked usl-host, as bytes of the `usl` executable. USL_HOST_FILE is its path in the build directory.
        .section .rodata.usl_host_image, "a", @progbits
        .balign 64
        .globl usl_host_image_begin
        .globl usl_host_image_end
        .type usl_host_image_begin, @object
usl_host_image_begin:
        .incbin USL_HOST_FILE
usl_host_image_end:
        .byte 0
        .section .note.GNU-stack, "", @progbits
