# The proof of KVM for x86_64: a boot sector that reaches 64-bit kernel mode and works there as a kernel
# does: page tables, control and model-specific registers, CPUID, and a quarter of a billion steps of
# plain computation. Then it ends QEMU through isa-debug-exit (port 0xf4) with 0x2a: exit code 85.
#
# The many steps are the point. There are hosts whose /dev/kvm opens and creates machines, but runs
# kernel code instruction by instruction: firmware and a short stub get through, and a real kernel
# seems to hang. Real virtualization does these steps in a tenth of a second, TCG in about half of one.
#
# stub.bin is this file's output; a test compares them:
#   as --64 -o stub.o stub.s && ld -Ttext 0x7c00 --oformat binary -e _start -o stub.bin stub.o
# Modes and bits: Intel SDM volume 3A, section 10.8.5 "Initializing IA-32e Mode".
.code16
.globl _start
_start:
  cli
  cld
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  movw $0x1000, %di           # page tables at 0x1000, 0x2000, 0x3000: cleared
  movw $0x1800, %cx
  rep stosw
  movl $0x2003, 0x1000        # level 4 -> level 3 -> 512 pages of 2 MiB, mapped as they are
  movl $0x3003, 0x2000
  movw $0x3000, %di
  movl $0x83, %eax
1:
  movl %eax, (%di)
  addl $0x200000, %eax
  addw $8, %di
  cmpw $0x4000, %di
  jne 1b
  movl $0x1000, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x20, %eax             # CR4.PAE
  movl %eax, %cr4
  movl $0xc0000080, %ecx      # EFER
  rdmsr
  orl $0x100, %eax            # EFER.LME
  wrmsr
  lgdt gdt_pointer
  movl %cr0, %eax
  orl $0x80000001, %eax       # CR0.PG, CR0.PE
  movl %eax, %cr0
  ljmp $8, $long_mode

.code64
long_mode:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %ss
  movl $0x7c00, %esp
  movl $1000, %esi            # what a kernel does that a hypervisor may have to see
2:
  movq %cr3, %rax
  movq %rax, %cr3
  xorl %eax, %eax
  cpuid
  movl $0xc0000080, %ecx
  rdmsr
  decl %esi
  jnz 2b
  movl $0x10000000, %ecx      # and what it need not see
3:
  addq %rcx, %rdx
  decl %ecx
  jnz 3b
  movb $0x2a, %al
  outb %al, $0xf4
4:
  hlt
  jmp 4b

.align 8
gdt:
  .quad 0
  .quad 0x00af9b000000ffff    # 64-bit code
  .quad 0x00cf93000000ffff    # data
gdt_pointer:
  .word 23
  .long gdt
.org 510
.word 0xaa55
