// The linked init, as bytes of the `usl` executable. USL_INIT_FILE is its path in the build directory.
        .section .rodata.usl_init_image, "a", @progbits
        .balign 64
        .globl usl_init_image_begin
        .globl usl_init_image_end
        .type usl_init_image_begin, @object
usl_init_image_begin:
        .incbin USL_INIT_FILE
usl_init_image_end:
        .byte 0
        .section .note.GNU-stack, "", @progbits
