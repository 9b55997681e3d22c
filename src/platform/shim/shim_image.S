	.section .rodata.usl_shim, "a", @progbits
	.globl usl_shim_image
	.globl usl_shim_image_end
	.hidden usl_shim_image, usl_shim_image_end
	.balign 16
usl_shim_image:
	.incbin USL_SHIM_FILE
usl_shim_image_end:

	.section .note.GNU-stack, "", @progbits
