package skylark.tests;

/** The command line makes no sense; the message says what to change. */
final class Usage extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Usage(String message) {
        super(message);
    }
}
